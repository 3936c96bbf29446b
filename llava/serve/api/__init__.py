"""The OpenAI-compatible interface: what comes in is checked here, what goes out has their form."""
