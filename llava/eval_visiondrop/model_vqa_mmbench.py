"""`python -m llava.eval_visiondrop.model_vqa_mmbench`: the command `llava.eval.model_vqa_mmbench`."""

from llava.eval.model_vqa_mmbench import main
from llava.eval.runs.command import run

if __name__ == "__main__":
    run(main)
