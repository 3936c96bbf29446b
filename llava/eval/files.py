"""What the files of all benchmarks have in common: JSON Lines with known keys, and answers by question."""

from collections.abc import Iterable
from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import json_lines, read_text


def read_jsonl(
    path: str, keys: Iterable[str], what: str, texts: Iterable[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """The records of a JSON Lines file with their places (`FILE line N`), every one having `keys`.

    Args:
        what: names the file in complaints, as in "a question file".
        texts: keys whose values must be strings.

    Raises:
        InputError: for a missing or empty file, a line that is no JSON object or lacks a key; names file and line.
    """
    keys = tuple(keys)
    records = []
    for where, record in json_lines(read_text(path, what), path, what):
        missing = [key for key in keys if key not in record]
        if missing:
            raise InputError(f"a line of {what} needs {', '.join(keys)}: {where} lacks {missing[0]}; add it")
        wrong = [key for key in texts if not isinstance(record[key], str)]
        if wrong:
            raise InputError(f"{wrong[0]} in {what} is text: {where} has {shown(record[wrong[0]])}; mend it")
        records.append((where, record))
    if not records:
        raise InputError(f"{what} must hold lines: '{path}' is empty")
    return records


def is_question_id(value: Any) -> bool:
    """Whether a value can name a question in every benchmark's files: a text or a whole number."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def read_answer_lines(path: str, *texts: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines of an answers file with their places; a question may be answered several times.

    Args:
        texts: keys that a line needs besides question_id and text; their values must be strings.

    Raises:
        InputError: as `read_jsonl`, and for a question_id that is neither text nor a whole number.
    """
    texts = ("text", *texts)
    lines = read_jsonl(path, ("question_id", *texts), "an answers file", texts)
    for where, record in lines:
        if not is_question_id(record["question_id"]):
            raise InputError(f"a question_id is text or a whole number: {where} has {shown(record['question_id'])}")
    return lines


def read_answers(path: str, *texts: str) -> dict[Any, dict[str, Any]]:
    """An answers file as records by question id, in its order; `texts` as in `read_answer_lines`.

    Raises:
        InputError: as `read_answer_lines`, and for a question that is answered twice.
    """
    answers: dict[Any, dict[str, Any]] = {}
    for where, record in read_answer_lines(path, *texts):
        if record["question_id"] in answers:
            raise InputError(
                f"an answers file holds one answer per question: {where} answers {shown(record['question_id'])} again; "
                f"remove it"
            )
        answers[record["question_id"]] = record
    return answers
