"""Questions about videos: MSVD-QA, MSRVTT-QA, TGIF-QA (FrameQA) and ActivityNet-QA, in the forms they are published in.

- two JSON lists (ActivityNet-QA's own; Video-ChatGPT has all four in it): `video_name`, `question`, `question_id` in
  one, `answer`, `question_id` and `type` in the other; where answers have no id, they are in the order of the questions
- one JSON list (MSVD-QA's and MSRVTT-QA's own): `id`, `video_id`, `question`, `answer`; MSVD's videos have their names
  in youtube_mapping.txt, lines of `NAME vid3`
- a table with tabs and a header (TGIF-QA's own `Test_frameqa_question.csv`): `gif_name`, `question`, `answer`, `type`;
  its questions are called by the number of their row, from 0
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import quoted
from llava.eval.files import is_question_id
from llava.files.reading import read_json, read_text

WORDS = ("what", "who", "how", "when", "where")
TYPES: dict[str, tuple[str, ...]] = {
    "msvd": (),
    "msrvtt": (),
    "tgif": ("Object", "Number", "Color", "Location"),
    "activitynet": (
        *("Motion", "Spatial Relationship", "Temporal Relationship", "Yes/No", "Color", "Object", "Location"),
        *("Number", "Other"),
    ),
}
DATASETS = tuple(TYPES)


@dataclass(frozen=True)
class VideoQuestion:
    """A question about a video with its only right answer.

    Attributes:
        question_id: as text; `written_id` is as it was published.
        videos: names that the video's file may have, without their ending.
        kind: what it is about, or its first word where nothing says so.
    """

    question_id: str
    written_id: str | int
    videos: tuple[str, ...]
    question: str
    answer: str
    kind: str


def read_annotations(
    dataset: str, questions: str, answers: str | None = None, mapping: str | None = None
) -> list[VideoQuestion]:
    """The questions of a benchmark with their answers, in the order of the file.

    Args:
        dataset: one of `DATASETS`.
        questions, answers: the published files; `answers` is None where they are in the other file.
        mapping: MSVD's youtube_mapping.txt, for videos that are called by number.

    Raises:
        InputError: for files that are none, made otherwise or of different questions; names the question.
    """
    text = read_text(questions, "a question file")
    if text.lstrip().startswith("["):
        records = _list_in(read_json(questions, "a question file"), questions)
    else:
        records = _rows(text, questions)
    if answers is not None:
        found = _list_in(read_json(answers, "an answer file"), answers)
        records = list(_joined(records, found, questions, answers))
    names = _read_mapping(mapping) if mapping is not None else {}
    made: dict[str, VideoQuestion] = {}
    for number, record in enumerate(records, 1):
        question = _question(dataset, record, f"{questions} question {number}", names)
        if question.question_id in made:
            raise InputError(f"a question_id names one question: {questions} has {quoted(question.question_id)} again")
        made[question.question_id] = question
    return list(made.values())


def _list_in(value: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise InputError(f"video questions and answers are a JSON list of objects: '{path}' is none; fetch it again")
    return value


def _rows(text: str, path: str) -> list[dict[str, Any]]:
    """The rows of a table with tabs, as records."""
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", strict=True))
    except csv.Error as error:
        raise InputError(f"a table of questions has tabs between its columns: '{path}' has not ({error})") from None
    if not rows or "gif_name" not in rows[0]:
        raise InputError(
            f"video questions are a JSON list, or TGIF-QA's table with a header (gif_name, question, answer, type): "
            f"'{path}' is neither; check the path"
        )
    kinds = {"type": lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value}
    return [
        {"question_id": number} | {name: kinds.get(name, _same)(value) for name, value in row.items() if name}
        for number, row in enumerate(rows)
    ]


def _same(value: Any) -> Any:
    return value


def _joined(
    questions: list[dict[str, Any]], answers: list[dict[str, Any]], path: str, answers_path: str
) -> Iterable[dict[str, Any]]:
    """Questions with the answers of another file, by their ids or, where answers have none, in order."""
    if len(questions) != len(answers):
        raise InputError(
            f"there is one answer per question: '{path}' has {len(questions)} questions, '{answers_path}' "
            f"{len(answers)} answers; give files of the same split"
        )
    if not any("question_id" in answer for answer in answers):
        return [question | answer for question, answer in zip(questions, answers)]
    by_id = {str(answer.get("question_id")): answer for answer in answers}
    if len(by_id) != len(answers):
        raise InputError(f"there is one answer per question: '{answers_path}' answers one again; fetch it again")
    unanswered = [name for question in questions if str(name := question.get("question_id")) not in by_id]
    if unanswered:
        raise InputError(
            f"there is one answer per question: '{answers_path}' has none to {shown(unanswered[0])} of '{path}'; give "
            f"files of the same split"
        )
    return [question | by_id[str(question["question_id"])] for question in questions]


def _question(dataset: str, record: dict[str, Any], where: str, names: dict[str, str]) -> VideoQuestion:
    name: Any = record.get("question_id", record.get("id"))
    if not is_question_id(name):
        raise InputError(f"a question_id is text or a whole number: {where} has {shown(name)}; fetch the file again")
    if not isinstance(record.get("question"), str):
        raise InputError(f"a video question is text: {where} has {shown(record.get('question'))}; fetch it again")
    if not is_question_id(record.get("answer")):  # a count may be written as a number
        raise InputError(
            f"a video question has one answer: {where} has {shown(record.get('answer'))}; give the file of answers "
            f"(--answers)"
        )
    return VideoQuestion(
        question_id=str(name),
        written_id=name,
        videos=_videos(dataset, record, where, names),
        question=record["question"],
        answer=str(record["answer"]),
        kind=_kind(dataset, record, where),
    )


def _videos(dataset: str, record: dict[str, Any], where: str, names: dict[str, str]) -> tuple[str, ...]:
    """The names that a question's video may have; ActivityNet's files have `v_` in front."""
    name = record.get("video_name", record.get("gif_name"))
    if isinstance(name, str) and name:
        return (f"v_{name}", name) if dataset == "activitynet" else (name,)
    number = record.get("video_id")
    if not is_question_id(number):
        raise InputError(f"a question names its video (video_name, video_id): {where} does not; fetch the file again")
    if dataset == "msvd":
        numbered = f"vid{number}"
        return (names[numbered], numbered) if numbered in names else (numbered,)
    return (f"video{number}", str(number))


def _kind(dataset: str, record: dict[str, Any], where: str) -> str:
    kinds, value = TYPES[dataset], record.get("type")
    if kinds and type(value) is int and 0 <= value < len(kinds):
        return kinds[value]
    if value is None or not kinds:
        first = (record["question"].lower().split() or [""])[0]
        return first if first in WORDS else "other"
    if isinstance(value, str) and value:
        return value
    raise InputError(
        f"a question's type is a number from 0 to {len(kinds) - 1} ({', '.join(kinds)}): {where} has {shown(value)}; "
        f"fetch the file again"
    )


def _read_mapping(path: str) -> dict[str, str]:
    """MSVD's names by their numbers: lines of `NAME vid3`."""
    names = {}
    for number, line in enumerate(read_text(path, "youtube_mapping.txt").splitlines(), 1):
        words = line.split()
        if words and len(words) != 2:
            raise InputError(f"a line of youtube_mapping.txt is 'NAME vid3': {path} line {number} is {shown(line)}")
        if words:
            names[words[1]] = words[0]
    return names
