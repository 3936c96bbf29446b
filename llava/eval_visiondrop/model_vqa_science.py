"""`python -m llava.eval_visiondrop.model_vqa_science`: the command `llava.eval.model_vqa_science`."""

from llava.eval.model_vqa_science import main
from llava.eval.runs.command import run

if __name__ == "__main__":
    run(main)
