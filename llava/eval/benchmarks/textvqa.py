"""TextVQA's files: the annotators' answers, and the answers of a model by picture and question.

LLaVA's question file names a question by its picture, so it is found again by picture and text, the text being taken
out of the saved prompt.
"""

import re
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import answered_again, quoted
from llava.eval.benchmarks.vqa import check_annotations
from llava.eval.files import read_answer_lines
from llava.files.reading import read_json

Question = tuple[str, str]  # image id, lower-cased question
ANNOTATORS = 10
OCR_FIRST, OCR_LINE = "OCR tokens: ", "Reference OCR token: "
QUESTION_FILE = "llava_textvqa_val_v051_ocr.jsonl"


@dataclass(frozen=True)
class Truth:
    """TextVQA's annotations.

    Attributes:
        answers: the annotators' answers by question.
        own_ids: TextVQA's own question ids with the picture's, to tell who gives these by mistake.
    """

    answers: dict[Question, list[str]]
    own_ids: dict[str, str]


def question_of(prompt: str) -> str | None:
    """The lower-cased question in a saved prompt, and None for a prompt of no known form.

    Forms: `OCR tokens: ... Question: Q Short answer:`; three lines of which one is the OCR tokens (then Q is the
    second line if they are the first, else the first); Q and an instruction.
    """
    lines = prompt.split("\n")
    question: str | None = None
    if prompt.startswith(OCR_FIRST):
        found = re.search(r"Question: (.*?) Short answer:", prompt, re.DOTALL)
        question = found and found[1]
    elif OCR_LINE in prompt and len(lines) == 3:
        question = lines[1] if prompt.startswith(OCR_LINE.strip()) else lines[0]
    elif len(lines) == 2:
        question = lines[0]
    return question if question is None else question.lower()


def read_truth(path: str) -> Truth:
    """TextVQA's annotation file; InputError as `check_annotations` and for other than ten answers."""
    content = read_json(path, "TextVQA's annotations")
    records = content.get("data") if isinstance(content, dict) else None
    truth: dict[Question, list[str]] = {}
    own_ids = {}
    for record in check_annotations(records, ("image_id", "question"), path):
        answers = record["answers"]
        if len(answers) != ANNOTATORS or not all(isinstance(answer, str) for answer in answers):
            raise InputError(f"a TextVQA question has {ANNOTATORS} answers, texts: '{path}' has {shown(answers)}")
        image = str(record["image_id"])
        truth[image, str(record["question"]).lower()] = answers
        own_ids[str(record.get("question_id"))] = image
    return Truth(truth, own_ids)


def read_predictions(path: str, truth: Truth) -> dict[Question, str]:
    """The answers of a file by question.

    Raises:
        InputError: as `read_answer_lines`, for a prompt that holds no question or one that is not in `truth`, and for
            a question that is answered twice.
    """
    predictions: dict[Question, str] = {}
    for where, record in read_answer_lines(path, "prompt"):
        question = (str(record["question_id"]), _asked(record, where))
        if question not in truth.answers:
            raise _not_annotated(*question, truth, where)
        if question in predictions:
            raise answered_again(where, question[1])
        predictions[question] = record["text"]
    return predictions


def _asked(record: dict[str, Any], where: str) -> str:
    text = question_of(record["prompt"])
    if text is None:
        literal = "\\n" in record["prompt"] and "\n" not in record["prompt"]
        remedy = (
            "it has the two signs \\ and n where line breaks belong: write them as JSON does, \\n once"
            if literal
            else f"answer the published {QUESTION_FILE}"
        )
        raise InputError(
            f"a prompt is a question, an instruction and maybe '{OCR_LINE}', each on a line: {where} has "
            f"{shown(record['prompt'], 200)}; {remedy}"
        )
    return text


def _not_annotated(name: str, text: str, truth: Truth, where: str) -> InputError:
    """What to say of a question that has no annotation."""
    image = truth.own_ids.get(name)
    if image is not None and (image, text) in truth.answers:
        return InputError(
            f"question_id must be the picture's in TextVQA's files, as in {QUESTION_FILE}: {where} has "
            f"{quoted(name)}, TextVQA's own id of the question; expected {shown(image)}"
        )
    return InputError(
        f"answers must be those to the annotated questions: {where} asks {shown(text, 200)} about {shown(name)}, which "
        f"is not annotated; question_id is the picture's id, as in {QUESTION_FILE}; give the files of the same split"
    )
