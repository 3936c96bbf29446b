"""Reading and writing the JSON of benchmarks, with complaints that name the file and the line."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llava.errors import InputError


def read_text(path: str, what: str) -> str:
    """A UTF-8 file. `what` names it in the complaint, as in "a question file".

    Raises:
        InputError: when it is not there or no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} must be UTF-8 text: '{path}' is not ({error.reason}); check the path") from None
    except OSError as error:
        raise InputError(f"{what} must be readable: '{path}' is not ({error.strerror}); check the path") from None


def read_json(path: str, what: str) -> Any:
    """One JSON value from a file."""
    try:
        return json.loads(read_text(path, what))
    except json.JSONDecodeError as error:
        raise InputError(f"{what} must be JSON: '{path}' is not ({error}); fetch it again") from None


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
    for number, line in enumerate(_lines(read_text(path, what)), 1):
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{what} must hold one JSON object per line: {where} is none ({error})") from None
        missing = [key for key in keys if not isinstance(record, dict) or key not in record]
        if missing:
            raise InputError(f"a line of {what} needs {', '.join(keys)}: {where} lacks {missing[0]}; add it")
        wrong = [key for key in texts if not isinstance(record[key], str)]
        if wrong:
            raise InputError(f"{wrong[0]} in {what} is text: {where} has {record[wrong[0]]!r}; mend it")
        records.append((where, record))
    if not records:
        raise InputError(f"{what} must hold lines: '{path}' is empty")
    return records


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
        if not isinstance(record["question_id"], str | int):
            raise InputError(f"a question_id is text or a whole number: {where} has {record['question_id']!r}")
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
                f"an answers file holds one answer per question: {where} answers {record['question_id']!r} again; "
                f"remove it"
            )
        answers[record["question_id"]] = record
    return answers


def write_text(path: str, text: str) -> None:
    """A UTF-8 file, whole or not at all; its folder is made."""
    write_bytes(path, text.encode())


def write_bytes(path: str, content: bytes) -> None:
    """A file, whole or not at all; its folder is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(target)


def file_digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(text: str) -> list[str]:
    # Only a line feed ends a line: JSON strings may hold the other characters that str.splitlines breaks at.
    return text.removesuffix("\n").split("\n") if text else []
