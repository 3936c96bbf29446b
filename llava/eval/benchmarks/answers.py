"""Answers files as scorers and converters take them: by question id, and whether they fit the questions.

Ids are compared as text everywhere: tools write 7 for "7" and "7" for 7, and no benchmark asks about both.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.eval.files import is_question_id, read_answer_lines, skipped_because, tell_skipped
from llava.files.reading import json_lines, read_text

SHOWN = 3  # ids named in a complaint about many


@dataclass(frozen=True)
class Results:
    """An answers file as the converters take it.

    Attributes:
        texts: answers by question id; of several to one question the last.
        repeated: ids answered more than once.
        error_lines: 1 where the last line is torn, which is skipped, else 0.
    """

    texts: dict[str, str]
    repeated: list[str]
    error_lines: int


def read_results(path: str) -> Results:
    """An answers file, forgiving repeated answers, blank lines and a torn last line, as killed runs leave it.

    Raises:
        InputError: for a file of which no line can be read, for any other line that is no answer; names the line.
    """
    what = "an answers file"
    text = read_text(path, what).rstrip()
    torn = _is_torn(text[text.rfind("\n") + 1 :])
    whole = text[: text.rfind("\n") + 1] if torn else text
    texts: dict[str, str] = {}
    again: dict[str, None] = {}
    lines = list(json_lines(whole, path, what))
    for where, record in lines:
        question_id, answer = pair_of(record, "question_id", "text", where)
        if question_id in texts:
            again[question_id] = None
        texts[question_id] = answer
    if not texts:
        raise InputError(
            f"an answers file must hold lines: {shown(path, 300)} is empty or torn; run the benchmark again"
        )
    tell_skipped(path, (record for _, record in lines))
    return Results(texts, list(again), int(torn))


def _is_torn(line: str) -> bool:
    """Whether a line is an object that was not written to its end."""
    line = line.strip()
    return line.startswith("{") and (not line.endswith(("}", "},")) or line.count("{") > line.count("}"))


def pair_of(record: Any, key: str, value: str, where: str) -> tuple[str, str]:
    """`record[key]`, a text or whole number, as text, and `record[value]`, a text."""
    for name in (key, value):
        if not isinstance(record, dict) or name not in record:
            raise InputError(f"an answer needs {key} and {value}: {where} lacks {name}; add it")
    if not is_question_id(record[key]):
        raise InputError(f"{key} must be text or a whole number: {where} has {shown(record[key])}; mend it")
    if not isinstance(record[value], str):
        raise InputError(f"{value} must be text: {where} has {shown(record[value])}; mend it")
    return str(record[key]), record[value]


def read_by_id(path: str, *texts: str) -> dict[str, dict[str, Any]]:
    """An answers file as records by question id as text, in its order; `texts` as in `read_answer_lines`.

    Raises:
        InputError: as `read_answer_lines`, and for a question that is answered twice.
    """
    answers: dict[str, dict[str, Any]] = {}
    for where, record in read_answer_lines(path, *texts):
        name = str(record["question_id"])
        if name in answers:
            raise answered_again(where, name)
        answers[name] = record
    return answers


def is_skipped(record: dict[str, Any]) -> bool:
    """Whether a runner passed over the question of an answer's line, because its picture cannot be read."""
    return skipped_because(record) is not None


def answered_again(where: str, name: object, per: str = "question") -> InputError:
    """What to say of a line that answers what another one has answered."""
    name = quoted(name) if isinstance(name, str) else name
    return InputError(f"an answers file holds one answer per {per}: {where} answers {name} again; remove it")


def quoted(name: str) -> str:
    """An id or key as a complaint names it: in quotes, unless it is a number."""
    return name if name.isascii() and name.isdecimal() and len(name) < 40 else shown(name)


def named(keys: Iterable[str]) -> str:
    """The first of many keys, for a complaint."""
    keys = list(keys)
    return ", ".join(map(quoted, keys[:SHOWN])) + (", ..." if len(keys) > SHOWN else "")


def repeated(keys: Iterable[str]) -> list[str]:
    """The keys that come more than once, each once."""
    return [key for key, count in Counter(keys).items() if count > 1]


def warn(what: str, keys: Collection[str]) -> None:
    """Say on stderr how many `keys` there are that `what` names, and the first ones; nothing where there are none."""
    if keys:
        print(f"WARNING: {len(keys)} {what}: {named(keys)}", file=sys.stderr)


def check_known(keys: Iterable[str], known: Collection[str], path: str, known_in: str) -> None:
    """Refuse `keys` of the file `path` that are not among those `known_in` another one."""
    strange = next((key for key in keys if key not in known), None)
    if strange is not None:
        raise InputError(
            f"'{path}' is about {quoted(strange)}, which is not in '{known_in}'; give files of the same questions"
        )


def check_answered(
    asked: Iterable[str], answered: Collection[str], path: str, allow_missing: bool = False, fate: str = "are left out"
) -> list[str]:
    """The asked questions that have no answer: refused, unless `allow_missing`, then said and counted.

    Args:
        answered: ids that have an answer.
        fate: what becomes of questions without answer, for the warning.

    Raises:
        InputError: says how many have none and which first; also where none at all has one.
    """
    asked = list(dict.fromkeys(asked))
    missing = [key for key in asked if key not in answered]
    if missing and (not allow_missing or len(missing) == len(asked)):
        remedy = "" if allow_missing else " (or give --allow-missing)"
        raise InputError(
            f"every question needs an answer: '{path}' has none to {len(missing)} ({named(missing)}); run the "
            f"benchmark again, it continues where it stopped{remedy}"
        )
    warn(f"questions have no answer and {fate}", missing)
    return missing
