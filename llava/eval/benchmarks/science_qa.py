"""ScienceQA's files: the problems of a split, and the two files that LLaVA's evaluation leaves behind."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import named, quoted, repeated
from llava.eval.files import is_question_id
from llava.files.reading import read_json

SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
LAST_GRADE_OF_PRIMARY = 6


@dataclass(frozen=True)
class Problem:
    """What of a problem counts for its score.

    Attributes:
        choices: how many.
        answer: index of the right one.
        groups: the classes that ScienceQA's own evaluation reports: subject, context, grade.
    """

    choices: int
    answer: int
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """A problem with the model's answer, in the order of keys that LLaVA writes.

    Attributes:
        parsed_ans: letter that the answer means, or FAILED.
        ground_truth: the right letter.
        question: the prompt; Unknown where there is no answer.
        pred: the answer's text; FAILED where there is none.
        is_multimodal: whether the prompt has an image's mark.
    """

    question_id: str
    parsed_ans: str
    ground_truth: str
    question: str
    pred: str
    is_multimodal: bool


def groups_of(record: dict[str, Any]) -> tuple[str, ...]:
    """The groups that a problem's subject, hint, image and grade put it into, as ScienceQA's evaluation has them."""
    context = [name for key, name in (("hint", "TXT"), ("image", "IMG")) if record.get(key)] or ["NO"]
    grade = str(record.get("grade", "")).removeprefix("grade")
    numbered = grade.isascii() and grade.isdecimal() and len(grade) <= 2
    grades = [("G1-6" if int(grade) <= LAST_GRADE_OF_PRIMARY else "G7-12")] if numbered else []
    subject = [short for name, short in SUBJECTS.items() if record.get("subject") == name]
    return (*subject, *context, *grades)


def read_problems(folder: str, split: str) -> dict[str, Problem]:
    """The problems of a split by id, in its order, from `pid_splits.json` and `problems.json`.

    Raises:
        InputError: for a split or a problem that is not there, and a problem without a right answer.
    """
    splits_file, problems_file = str(Path(folder) / "pid_splits.json"), str(Path(folder) / "problems.json")
    splits = read_json(splits_file, "ScienceQA's splits")
    if not isinstance(splits, dict) or not isinstance(splits.get(split), list) or not splits[split]:
        names = shown(", ".join(splits), 300) if isinstance(splits, dict) else "no split"
        raise InputError(f"--split must name a split with problems: '{splits_file}' has {names}; got '{split}'")
    strange = [name for name in splits[split] if not is_question_id(name)]
    if strange:
        raise InputError(f"a split lists ids: '{splits_file}' has {shown(strange[0])}; fetch it again")
    ids = [str(name) for name in splits[split]]
    if repeated(ids):
        raise InputError(
            f"a split names every problem once: '{splits_file}' repeats {named(repeated(ids))}; fetch it again"
        )
    problems = read_json(problems_file, "ScienceQA's problems")
    problems = problems if isinstance(problems, dict) else {}
    missing = [name for name in ids if name not in problems]
    if missing:
        raise InputError(
            f"ScienceQA's problems must hold the split {split}: '{problems_file}' lacks {len(missing)} "
            f"({named(missing)}); fetch both files from the same place"
        )
    return {name: _problem(problems[name], f"{problems_file} problem {quoted(name)}") for name in ids}


def _problem(record: Any, where: str) -> Problem:
    choices, answer = (record.get("choices"), record.get("answer")) if isinstance(record, dict) else (None, None)
    if not isinstance(choices, list) or type(answer) is not int or not 0 <= answer < len(choices):
        raise InputError(
            f"a problem has choices and as answer the index of one: {where} has {shown(choices)} and {shown(answer)}; "
            f"fetch problems.json again"
        )
    return Problem(len(choices), answer, groups_of(record))


def output_file(outcomes: list[Outcome], right: list[bool]) -> str:
    """What LLaVA calls `*_output.jsonl`, one JSON object: outcomes, the right and the wrong ones apart."""
    items = list(zip(map(asdict, outcomes), right))
    sorted_out = {"correct": [item for item, ok in items if ok], "incorrect": [item for item, ok in items if not ok]}
    return json.dumps(sorted_out, indent=2)


def result_file(outcomes: list[Outcome], chosen: list[int], correct: int) -> str:
    """LLaVA's `*_result.json`: accuracy in per cent, counts, index chosen and text for every problem."""
    names = [outcome.question_id for outcome in outcomes]
    result = {
        "acc": correct / len(outcomes) * 100,
        "correct": correct,
        "count": len(outcomes),
        "results": dict(zip(names, chosen)),
        "outputs": {outcome.question_id: outcome.pred for outcome in outcomes},
    }
    return json.dumps(result, indent=2)
