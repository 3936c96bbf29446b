"""Drawing with matplotlib: which tokens were kept, and the diagram of the method."""
