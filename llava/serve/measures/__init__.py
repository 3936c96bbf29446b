"""What `llava.serve.load` measures, each by real HTTP clients against a server of its own process."""
