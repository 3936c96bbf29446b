"""`python -m llava.eval_visiondrop.model_vqa`: the command `llava.eval.model_vqa`."""

from llava.eval.model_vqa import main
from llava.eval.runs.command import run

if __name__ == "__main__":
    run(main)
