"""What the files of all benchmarks have in common: JSON Lines with known keys, and answers by question."""

import sys
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


def check_question_ids(lines: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Refuse a `question_id` that is neither text nor a whole number, naming its line."""
    for where, record in lines:
        if not is_question_id(record["question_id"]):
            raise InputError(
                f"a question_id is text or a whole number: {where} has {shown(record['question_id'])}; mend it"
            )


def skipped_because(record: dict[str, Any]) -> str | None:
    """Why a runner did not ask the question of an answer's line (`--skip-unreadable`); None: it was asked."""
    metadata = record.get("metadata")
    why = metadata.get("skipped") if isinstance(metadata, dict) else None
    return why if isinstance(why, str) else None


def tell_skipped(path: str, records: Iterable[dict[str, Any]]) -> None:
    """Say on stderr how many answers of a file are none because their pictures could not be read."""
    reasons = [why for record in records if (why := skipped_because(record)) is not None]
    if reasons:
        print(
            f"WARNING: {len(reasons)} questions of {shown(path, 300)} were skipped and count as answered wrongly, the "
            f"first: {reasons[0]}",
            file=sys.stderr,
        )


def read_answer_lines(path: str, *texts: str) -> list[tuple[str, dict[str, Any]]]:
    """The lines of an answers file with their places; a question may be answered several times.

    Skipped questions are said on stderr; their texts are empty.

    Args:
        texts: keys that a line needs besides question_id and text; their values must be strings.

    Raises:
        InputError: as `read_jsonl`, and for a question_id that is neither text nor a whole number.
    """
    texts = ("text", *texts)
    lines = read_jsonl(path, ("question_id", *texts), "an answers file", texts)
    check_question_ids(lines)
    tell_skipped(path, (record for _, record in lines))
    return lines


def read_answers(path: str, *texts: str) -> dict[Any, dict[str, Any]]:
    """An answers file as records by question id, in its order; `texts` as in `read_answer_lines`.

    Raises:
        InputError: as `read_answer_lines`, and for a question that is answered twice (17 and "17" are the same one).
    """
    answers: dict[Any, dict[str, Any]] = {}
    seen: set[str] = set()
    for where, record in read_answer_lines(path, *texts):
        question_id = record["question_id"]
        if str(question_id) in seen:
            raise InputError(
                f"an answers file holds one answer per question: {where} answers {shown(question_id)} again; remove it"
            )
        seen.add(str(question_id))
        answers[question_id] = record
    return answers
