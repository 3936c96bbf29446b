"""From a prompt to new tokens: generate, greedy decoding, image prefixes shared between questions, captured steps."""
