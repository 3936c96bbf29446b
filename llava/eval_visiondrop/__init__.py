"""VisionDrop's published scripts call the runners under this name: the same commands as in `llava.eval`."""
