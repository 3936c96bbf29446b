"""The files that VQAv2, VizWiz and TextVQA share: answers in several forms, annotations, and whether they fit."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError
from llava.eval.benchmarks.vqa_text import normalise_m4c
from llava.eval.files import read_answers, read_jsonl
from llava.files.reading import read_json, read_text

Key = str | int
SHOWN = 3  # ids named in a complaint about many


@dataclass(frozen=True)
class Results:
    """An answers file as the converters take it.

    Attributes:
        texts: answers by question id; of several to one question the last.
        repeated: ids answered more than once.
        error_lines: lines that are no JSON, which are skipped.
    """

    texts: dict[Key, str]
    repeated: list[Key]
    error_lines: int


def read_results(path: str) -> Results:
    """An answers file, forgiving torn lines and repeated answers as LLaVA's converters do.

    Raises:
        InputError: for a file that is missing or empty, and a JSON line without question_id or text.
    """
    content = read_text(path, "an answers file")
    if not content:
        raise InputError(f"an answers file must hold lines: '{path}' is empty; run the benchmark again")
    texts: dict[Key, str] = {}
    repeated: dict[Key, None] = {}
    error_lines = 0
    for number, line in enumerate(content.removesuffix("\n").split("\n"), 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            error_lines += 1
            continue
        question_id, text = _pair(record, "question_id", "text", f"{path} line {number}")
        if question_id in texts:
            repeated[question_id] = None
        texts[question_id] = text
    return Results(texts, list(repeated), error_lines)


def read_predictions(path: str) -> dict[Key, str]:
    """An answers file, strictly, with the texts normalised as they would be in an upload file."""
    return {question_id: normalise_m4c(record["text"]) for question_id, record in read_answers(path).items()}


def is_upload(path: str) -> bool:
    """Whether a result file is an upload file, one JSON array, and no answers file."""
    return read_text(path, "a result file").lstrip().startswith("[")


def read_upload(path: str, key: str) -> dict[Key, str]:
    """The answers of an upload file by `key`, as they stand. Raises as `by_key`, and for broken JSON."""
    return by_key(read_json(path, "an upload file"), key, "answer", path)


def by_key(items: Iterable[Any], key: str, value: str, path: str) -> dict[Key, str]:
    """The texts under `value` of the items of an upload file by `key`.

    Raises:
        InputError: for an item without `key` or `value`, and a key that comes twice.
    """
    answers: dict[Key, str] = {}
    for number, item in enumerate(items, 1):
        name, answer = _pair(item, key, value, f"{path} item {number}")
        if name in answers:
            raise InputError(f"an upload file holds one answer per {key}: {path} item {number} repeats {name!r}")
        answers[name] = answer
    return answers


def _pair(record: Any, key: str, value: str, where: str) -> tuple[Key, str]:
    """`record[key]`, text or whole number, and `record[value]`, text."""
    for name, kinds, kind in ((key, str | int, "text or a whole number"), (value, str, "text")):
        if not isinstance(record, dict) or name not in record:
            raise InputError(f"an answer needs {key} and {value}: {where} lacks {name}; add it")
        if not isinstance(record[name], kinds):
            raise InputError(f"{name} must be {kind}: {where} has {record[name]!r}; mend it")
    return record[key], record[value]


def read_questions(path: str, *keys: str) -> list[dict[str, Any]]:
    """The lines of a question file, in its order, each with question_id and `keys`, texts or whole numbers."""
    keys = ("question_id", *keys)
    lines = read_jsonl(path, keys, "a question file")
    for where, record in lines:
        _check_keys(record, keys, where)
    return [record for _, record in lines]


def check_annotations(records: Any, keys: Iterable[str], path: str) -> list[dict[str, Any]]:
    """Annotations, if they are a list of objects with `keys`, texts or whole numbers, and a list of answers each.

    Raises:
        InputError: when they are not.
    """
    if not isinstance(records, list) or not records:
        raise InputError(f"annotations must be a list of questions: '{path}' holds none; fetch the file again")
    keys = tuple(keys)
    for number, record in enumerate(records, 1):
        where = f"{path} question {number}"
        missing = [key for key in (*keys, "answers") if not isinstance(record, dict) or key not in record]
        if missing:
            raise InputError(
                f"an annotation needs {', '.join(keys)}, answers: {where} lacks {missing[0]}; take the annotations of "
                f"a split with public answers"
            )
        _check_keys(record, keys, where)
        if not isinstance(record["answers"], list) or not record["answers"]:
            raise InputError(f"an annotation lists answers: {where} has {record['answers']!r}; fetch the file again")
    return records


def _check_keys(record: dict[str, Any], keys: Iterable[str], where: str) -> None:
    for key in keys:
        if not isinstance(record[key], str | int):
            raise InputError(f"{key} must be text or a whole number: {where} has {record[key]!r}; mend it")


def answers_of(record: dict[str, Any], path: str) -> list[str]:
    """The annotators' answers in an annotation of VQAv2 or VizWiz."""
    answers = [answer.get("answer") if isinstance(answer, dict) else None for answer in record["answers"]]
    texts = [answer for answer in answers if isinstance(answer, str)]
    if len(texts) != len(answers):
        raise InputError(f"annotators' answers are objects with a text each: '{path}' has {record['answers']!r}")
    return texts


def named(keys: Iterable[Key]) -> str:
    """The first of many keys, for a complaint."""
    keys = list(keys)
    return ", ".join(repr(key) for key in keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def repeated(keys: Iterable[Key]) -> list[Key]:
    """The keys that come more than once, each once."""
    return [key for key, count in Counter(keys).items() if count > 1]


def check_known(keys: Iterable[Key], known: Collection[Key], path: str, known_in: str) -> None:
    """Refuse `keys` of the file `path` that are not among those `known_in` another one."""
    strange = next((key for key in keys if key not in known), None)
    if strange is not None:
        raise InputError(
            f"'{path}' is about {strange!r}, which is not in '{known_in}'; give files of the same questions"
        )


def check_answered(asked: Iterable[Key], answered: Collection[Key], path: str) -> None:
    """Refuse answers that leave a question out, saying how many and which first."""
    missing = [key for key in asked if key not in answered]
    if missing:
        raise InputError(
            f"every question needs an answer: '{path}' has none to {len(missing)} ({named(missing)}); run the "
            f"benchmark again, it continues where it stopped"
        )
