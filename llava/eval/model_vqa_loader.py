"""Answer a JSON Lines file of questions about images (GQA, VQAv2, VizWiz, TextVQA, POPE, MME, SEED).

    python -m llava.eval.model_vqa_loader --model-path CHECKPOINT --question-file QUESTIONS.jsonl \\
        --image-folder IMAGES --answers-file ANSWERS.jsonl --temperature 0 --conv-mode vicuna_v1 --retain 32

A question line has `question_id`, `image` and `text`. Options are LLaVA's; see --help.
"""

import os
import sys

from llava.eval.files import check_question_ids, read_jsonl
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.eval.runs.questions import FileImage, Question
from llava.eval.runs.runner import add_runner_options, run_questions


def read_questions(path: str, image_folder: str) -> list[Question]:
    """LLaVA's question file; every line has a picture.

    Ids may repeat (MME, TextVQA); a whole question that does is answered again, and said on stderr.

    Raises:
        InputError: as `read_jsonl`, and for an id that no scorer would take.
    """
    lines = read_jsonl(path, ("question_id", "image", "text"), "a question file", ("image", "text"))
    check_question_ids(lines)
    first: dict[tuple, str] = {}
    repeated = [
        (where, asked)
        for where, record in lines
        if (asked := first.setdefault((str(record["question_id"]), record["image"], record["text"]), where)) != where
    ]
    if repeated:
        where, asked = repeated[0]
        print(f"WARNING: {len(repeated)} questions come twice, the first: {where} is that of {asked}", file=sys.stderr)
    return [
        Question(
            where=where,
            message=record["text"],
            image=FileImage(os.path.join(image_folder, record["image"]), where),
            head={"question_id": record["question_id"], "prompt": record["text"]},
        )
        for where, record in lines
    ]


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.model_vqa_loader", description=(__doc__ or "").split("\n")[0])
    add_runner_options(parser, "tables/question.jsonl")
    args = parser.parse_args()
    conv_mode = conversation_from(args, tag_plain_models=True)
    run_questions(args, read_questions(args.question_file, args.image_folder), conv_mode)


if __name__ == "__main__":
    run(main)
