"""Small things to try this project with."""
