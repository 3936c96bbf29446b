"""The files that VQAv2, VizWiz and TextVQA share: questions, annotations, upload files."""

from collections.abc import Iterable
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import pair_of, quoted, read_by_id
from llava.eval.benchmarks.vqa_text import normalise_m4c
from llava.eval.files import is_question_id, read_jsonl
from llava.files.reading import read_json, read_text


def read_predictions(path: str) -> dict[str, str]:
    """The texts of an answers file by question id, normalised as they would be in an upload file."""
    return {name: normalise_m4c(record["text"]) for name, record in read_by_id(path).items()}


def is_upload(path: str) -> bool:
    """Whether a result file is an upload file, one JSON array, and no answers file."""
    return read_text(path, "a result file").lstrip().startswith("[")


def read_upload(path: str, key: str) -> dict[str, str]:
    """The answers of an upload file by `key`, as they stand. Raises as `by_key`, and for broken JSON."""
    return by_key(read_json(path, "an upload file"), key, "answer", path)


def by_key(items: Iterable[Any], key: str, value: str, path: str) -> dict[str, str]:
    """The texts under `value` of the items of an upload file by `key`.

    Raises:
        InputError: for an item without `key` or `value`, and a key that comes twice.
    """
    answers: dict[str, str] = {}
    for number, item in enumerate(items, 1):
        name, answer = pair_of(item, key, value, f"{path} item {number}")
        if name in answers:
            raise InputError(f"an upload file holds one answer per {key}: {path} item {number} repeats {quoted(name)}")
        answers[name] = answer
    return answers


def read_questions(path: str, *keys: str) -> list[dict[str, Any]]:
    """The lines of a question file, in its order, each with question_id and `keys`, texts or whole numbers."""
    keys = ("question_id", *keys)
    lines = read_jsonl(path, keys, "a question file")
    for where, record in lines:
        _check_keys(record, keys, where)
    return [record for _, record in lines]


def read_ids(path: str) -> list[str]:
    """The ids of a question file as text, in its order."""
    return [str(line["question_id"]) for line in read_questions(path)]


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
            raise InputError(
                f"an annotation lists answers: {where} has {shown(record['answers'])}; fetch the file again"
            )
    return records


def annotations_by(key: str, records: Iterable[dict[str, Any]], path: str) -> dict[str, dict[str, Any]]:
    """Checked annotations by the text of `key`; InputError for one that comes twice."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        name = str(record[key])
        if name in found:
            raise InputError(f"a question is annotated once: '{path}' has {key} {quoted(name)} again; fetch it again")
        found[name] = record
    return found


def _check_keys(record: dict[str, Any], keys: Iterable[str], where: str) -> None:
    for key in keys:
        if not is_question_id(record[key]):
            raise InputError(f"{key} must be text or a whole number: {where} has {shown(record[key])}; mend it")


def answers_of(record: dict[str, Any], path: str) -> list[str]:
    """The annotators' answers in an annotation of VQAv2 or VizWiz."""
    answers = [answer.get("answer") if isinstance(answer, dict) else None for answer in record["answers"]]
    texts = [answer for answer in answers if isinstance(answer, str)]
    if len(texts) != len(answers):
        raise InputError(f"annotators' answers are objects with a text each: '{path}' has {shown(record['answers'])}")
    return texts
