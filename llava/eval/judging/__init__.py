"""Benchmarks as many methods are asked them at once: questions with the rule that says how right an answer is."""
