"""LLaVA's name for training with flash attention, which `--attn_implementation` chooses; the default is SDPA."""

from llava.eval.runs.command import run
from llava.train.train import main, train

__all__ = ["train"]

if __name__ == "__main__":
    run(main)
