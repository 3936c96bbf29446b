"""Commands: run a model over a benchmark's questions, score the answers, measure the cost."""
