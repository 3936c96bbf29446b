"""The shapes benchmark's files: the right answers to the questions about `playground/shapes`."""

from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import quoted
from llava.eval.files import is_question_id, read_jsonl

FOLDER = "playground/shapes"
KEYS = ("question_id", "image", "category", "answer")


def read_truth(path: str) -> dict[str, dict[str, Any]]:
    """The right answers' records by question id as text, in the file's order.

    Raises:
        InputError: for a file that cannot be read, a line without one of `KEYS`, a question that comes twice.
    """
    truth: dict[str, dict[str, Any]] = {}
    for where, record in read_jsonl(path, KEYS, "the right answers", ("image", "category", "answer")):
        if not is_question_id(record["question_id"]):
            raise InputError(f"a question_id is text or a whole number: {where} has {shown(record['question_id'])}")
        name = str(record["question_id"])
        if name in truth:
            raise InputError(f"a question has one right answer: {where} is about {quoted(name)} again")
        truth[name] = record
    return truth
