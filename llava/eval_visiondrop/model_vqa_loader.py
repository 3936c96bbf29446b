"""`python -m llava.eval_visiondrop.model_vqa_loader`: the command `llava.eval.model_vqa_loader`."""

from llava.eval.model_vqa_loader import main
from llava.eval.runs.command import run

if __name__ == "__main__":
    run(main)
