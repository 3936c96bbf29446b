"""The page: a client of the server that shows what an answer cost and what was kept for it."""
