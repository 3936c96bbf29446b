"""Accuracy against image tokens: the runs, their points, and how they are reported."""
