"""Continuous batching: requests join and leave a running batch between two tokens; a picture is encoded once."""
