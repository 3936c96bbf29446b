"""Answer ScienceQA's multiple-choice questions, with and without picture.

    python -m llava.eval.model_vqa_science --model-path CHECKPOINT --question-file llava_test_CQM-A.json \\
        --image-folder images/test --answers-file ANSWERS.jsonl --single-pred-prompt --temperature 0 \\
        --conv-mode vicuna_v1 --retain 32

The question file is one JSON array; a record has `id`, `conversations` and, with a picture, `image`.
"""

import os
from typing import Any

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import conversation_from
from llava.eval.runs.questions import FileImage, Question
from llava.eval.runs.runner import add_runner_options, run_questions
from llava.files.reading import read_json

LETTER_PROMPT = "Answer with the option's letter from the given choices directly."


def read_questions(path: str, image_folder: str, single_pred_prompt: bool) -> list[Question]:
    """LLaVA's ScienceQA file. The saved prompt of a question with picture begins with the literal `<image>` marker,
    by which the scorer tells the two kinds apart.

    Raises:
        InputError: for a file that is no JSON array or a record that lacks a key; names the record.
    """
    records = read_json(path, "a ScienceQA question file")
    if not isinstance(records, list) or not records:
        raise InputError(f"a ScienceQA question file must be a JSON array with questions: '{path}' holds none")
    questions: dict[Any, Question] = {}
    for number, record in enumerate(records, 1):
        question = _question(record, f"{path} record {number}", image_folder, single_pred_prompt)
        question_id = question.head["question_id"]
        if question_id in questions:
            raise InputError(f"an id of ScienceQA comes once: {question.where} has {question_id!r} again; remove it")
        questions[question_id] = question
    return list(questions.values())


def _question(record: Any, where: str, image_folder: str, single_pred_prompt: bool) -> Question:
    try:
        question_id, value = record["id"], record["conversations"][0]["value"]
    except (KeyError, IndexError, TypeError):
        raise InputError(f"a ScienceQA question needs id and conversations[0].value: {where} lacks them") from None
    if not all(isinstance(text, str) for text in (question_id, value, record.get("image", ""))):
        raise InputError(f"id, value and image of a ScienceQA question are texts: {where} has others; mend it")
    text = value.replace(DEFAULT_IMAGE_TOKEN, "").strip()
    if single_pred_prompt:
        text += f"\n{LETTER_PROMPT}"
    if "image" not in record:
        return Question(where, text, None, {"question_id": question_id, "prompt": text})
    image = FileImage(os.path.join(image_folder, record["image"]), where)
    return Question(where, text, image, {"question_id": question_id, "prompt": f"{DEFAULT_IMAGE_TOKEN}\n{text}"})


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.model_vqa_science", description=(__doc__ or "").split("\n")[0])
    add_runner_options(parser, "tables/question.json", conv_mode="llava_v0", max_new_tokens=1024)
    parser.add_argument("--single-pred-prompt", action="store_true", help="ask for the option's letter alone")
    parser.add_argument("--answer-prompter", action="store_true", help="accepted and without effect, as in LLaVA")
    args = parser.parse_args()
    conv_mode = conversation_from(args)
    questions = read_questions(args.question_file, args.image_folder, args.single_pred_prompt)
    run_questions(args, questions, conv_mode, single_pred_prompt=args.single_pred_prompt)


if __name__ == "__main__":
    run(main)
