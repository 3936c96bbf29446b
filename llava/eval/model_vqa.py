"""Answer a JSON Lines file of questions that want long answers (LLaVA-Bench, MM-Vet).

    python -m llava.eval.model_vqa --model-path CHECKPOINT --question-file QUESTIONS.jsonl --image-folder IMAGES \\
        --answers-file ANSWERS.jsonl --temperature 0 --conv-mode vicuna_v1 --retain 32

The same as `model_vqa_loader` with LLaVA's limit of 1024 new tokens.
"""

from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.eval.runs.runner import add_runner_options, run_questions


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.model_vqa", description=(__doc__ or "").split("\n")[0])
    add_runner_options(parser, "tables/question.jsonl", max_new_tokens=1024)
    args = parser.parse_args()
    conv_mode = conversation_from(args)
    run_questions(args, read_questions(args.question_file, args.image_folder), conv_mode)


if __name__ == "__main__":
    run(main)
