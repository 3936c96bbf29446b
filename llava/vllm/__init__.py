"""The encoder stage of this project's methods in vLLM."""
