"""One file per reduction method, found by its file name: a file put here is a method of that name."""
