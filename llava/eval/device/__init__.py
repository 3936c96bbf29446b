"""One device examined: that it gives what was proven exact elsewhere, how fast it is, and how far from its peak."""
