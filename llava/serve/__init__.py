"""People and programs that talk to a model: a chat in the terminal."""
