"""Evaluation harnesses of others: models for lmms-eval's command line, and the shapes benchmark as one of its tasks."""
