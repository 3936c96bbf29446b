"""The usual grading of answers about videos by GPT (Video-ChatGPT's): the file that it takes, and what it gives back.

It takes JSON Lines with `id`, `question`, `answer` and `pred`. It gives, for each answer, a list of the grade,
`{"pred": "yes", "score": 4}`, and of what was graded, `{"q", "a", "pred"}`: a file `ID.json` in a folder for each, and
one JSON object of them all by id. Some copies of the program put `_0` behind an id.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import check_known, quoted
from llava.eval.benchmarks.videoqa import VideoQuestion
from llava.eval.results.scores import is_number, ratio
from llava.files.reading import files_in, read_json, read_json_object

HIGHEST = 5


@dataclass(frozen=True)
class Grade:
    """What GPT says of an answer: right, wrong or (None) neither of both, and 0 to 5 points."""

    right: bool | None
    points: int


def grading_lines(questions: Iterable[VideoQuestion], texts: dict[str, str]) -> str:
    """The file to be graded, of the questions that have an answer."""
    lines = (
        {"id": one.written_id, "question": one.question, "answer": one.answer, "pred": texts[one.question_id]}
        for one in questions
        if one.question_id in texts
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_grades(path: str, texts: dict[str, str]) -> dict[str, Grade]:
    """The grades by question id.

    Args:
        path: the one file, or the folder of files.
        texts: the answers that were to be graded, by question id.

    Raises:
        InputError: for what is no grading, or that of other questions or other answers.
    """
    grades: dict[str, Grade] = {}
    for key, entry in _entries(path).items():
        name = key if key in texts or not key.endswith("_0") else key[:-2]
        check_known([name], texts, path, "the answers file")
        if name in grades:
            raise InputError(f"an answer is graded once: '{path}' grades {quoted(name)} again; remove one")
        grades[name] = _grade(entry, f"{path} {quoted(key)}", texts[name])
    return grades


def _entries(path: str) -> dict[str, Any]:
    if not Path(path).is_dir():
        return read_json_object(path, "a grading", "grade the answers again")
    files = files_in(path, "*.json")
    if not files:
        raise InputError(f"a folder of grades holds a JSON file for each: '{path}' has none; check the path")
    return {file.name.removesuffix(".json"): read_json(str(file), "a grade") for file in files}


def _grade(entry: Any, where: str, text: str) -> Grade:
    grade, graded = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
    if not isinstance(grade, dict) or not isinstance(graded, dict) or not isinstance(grade.get("pred"), str):
        raise InputError(
            f"a grade is a list of {{'pred', 'score'}} and {{'q', 'a', 'pred'}}: {where} has {shown(entry)}; grade it "
            f"again"
        )
    if graded.get("pred") != text:
        raise InputError(
            f"grades are of the answers file's own texts: {where} is of {shown(graded.get('pred'))}, the answer is "
            f"{shown(text)}; grade these answers"
        )
    said = grade["pred"].lower()
    return Grade(True if "yes" in said else False if "no" in said else None, _points(grade.get("score"), where))


def _points(score: Any, where: str) -> int:
    """A grade's points, cut to a whole number as in Video-ChatGPT; also where they are written as text."""
    if isinstance(score, str) and re.fullmatch(r"[0-9]", score.strip()):
        score = int(score)
    if not is_number(score) or not 0 <= score <= HIGHEST:
        raise InputError(f"a grade's score is a number from 0 to {HIGHEST}: {where} has {shown(score)}; grade it again")
    return int(score)


def accuracy(grades: Sequence[Grade]) -> float:
    """Per cent of the answers called right among those called right or wrong."""
    return 100 * ratio(sum(grade.right is True for grade in grades), sum(grade.right is not None for grade in grades))


def average_points(grades: Sequence[Grade]) -> float:
    """The mean of the points of all answers."""
    return ratio(sum(grade.points for grade in grades), len(grades))
