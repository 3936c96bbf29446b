"""A small world of coloured shapes, and the recipe that teaches a small LLaVA to see it."""
