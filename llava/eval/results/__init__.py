"""Scores on disk: what a scorer prints last, and the table over all of them."""
