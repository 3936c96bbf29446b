"""What text and image tokens look at inside the LLM, layer by layer: measured, in numbers, in pictures."""
