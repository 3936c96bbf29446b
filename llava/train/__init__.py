"""Training LLaVA: its arguments, data and recipe on transformers' Trainer."""
