"""From a file of conversations to batches of ids, targets and pixels."""
