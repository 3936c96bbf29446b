"""SEED-Bench's files: its questions with their answers, an answers file that fits them, and the upload file."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import answered_again, check_answered, check_known, warn
from llava.eval.files import is_question_id, read_answer_lines
from llava.files.reading import read_json

DATA_TYPES = ("image", "video")
KEYS = ("answer", "data_type", "question_id", "question_type_id")
LETTERS = ("A", "B", "C", "D")


@dataclass(frozen=True)
class Question:
    """What of a question counts for its score.

    Attributes:
        question_id: as SEED-Bench writes it, text. One id is given to two questions.
        answer: the right letter.
        kind: name of its type, as in `Instances Counting`.
        data_type: image or video.
    """

    question_id: str
    answer: str
    kind: str
    data_type: str


def read_questions(path: str) -> tuple[list[Question], list[str]]:
    """The questions of `SEED-Bench.json` in its order, and the names of their types in the order of type ids.

    Raises:
        InputError: for a file that is no JSON or made otherwise.
    """
    content = read_json(path, "SEED-Bench's annotations")
    records, types = (content.get(key) if isinstance(content, dict) else None for key in ("questions", "question_type"))
    if not isinstance(records, list) or not records or not isinstance(types, dict):
        raise InputError(f"SEED-Bench's annotations have questions and question_type: '{path}' has not; fetch it again")
    names = {number: name for name, number in types.items() if type(number) is int}
    questions = [_question(record, names, f"{path} question {at}") for at, record in enumerate(records, 1)]
    used = {question.kind for question in questions}
    return questions, [names[number] for number in sorted(names) if names[number] in used]


def _question(record: Any, names: dict[Any, str], where: str) -> Question:
    missing = [key for key in KEYS if not isinstance(record, dict) or key not in record]
    if missing:
        raise InputError(f"a question of SEED-Bench has {', '.join(KEYS)}: {where} lacks {missing[0]}; fetch it again")
    number = record["question_type_id"]
    if type(number) is not int or number not in names or record["data_type"] not in DATA_TYPES:
        raise InputError(
            f"a question's type is one of question_type and its data {' or '.join(DATA_TYPES)}: {where} has "
            f"{shown(number)} and {shown(record['data_type'])}; fetch the file again"
        )
    if record["answer"] not in LETTERS or not is_question_id(record["question_id"]):
        raise InputError(
            f"a question of SEED-Bench has an id and one of {', '.join(LETTERS)} as answer: {where} has "
            f"{shown(record['question_id'])} and {shown(record['answer'])}; fetch the file again"
        )
    return Question(str(record["question_id"]), record["answer"], names[number], record["data_type"])


def read_texts(path: str, questions: Iterable[Question], known_in: str) -> dict[str, str]:
    """The texts of an answers file by question id. Of several answers to one id the last counts, as in LLaVA.

    Raises:
        InputError: as `read_answer_lines`, for an id that is not asked, and for one answered more often than asked.
    """
    asked = Counter(question.question_id for question in questions)
    answered: Counter[str] = Counter()
    texts = {}
    for where, record in read_answer_lines(path):
        name = str(record["question_id"])
        check_known([name], asked, path, known_in)
        answered[name] += 1
        if answered[name] > asked[name]:
            raise answered_again(where, name)
        texts[name] = record["text"]
    shared = [name for name, count in answered.items() if count > 1]
    warn("ids are those of several questions, the last answer counts for them all", shared)
    return texts


def asked_of(
    questions: list[Question], texts: dict[str, str], path: str, allow_missing: bool, fate: str
) -> tuple[list[Question], list[str]]:
    """The questions about the kinds of data that were asked about, and the ids of those without answer.

    Many have the pictures alone, as videos must be fetched from elsewhere: then all questions about videos have no
    answer and are left out, which is said.

    Raises:
        InputError: for other questions without answer, unless `allow_missing`.
    """
    used = {question.data_type for question in questions if question.question_id in texts}
    for data in DATA_TYPES:
        absent = [question.question_id for question in questions if question.data_type == data and data not in used]
        warn(f"questions about {data}s have no answer, all of them, and are left out", absent)
    asked = [question for question in questions if question.data_type in used] or questions
    ids = (question.question_id for question in asked)
    return asked, check_answered(ids, texts, path, allow_missing, fate)


def upload(questions: Iterable[Question], texts: dict[str, str]) -> str:
    """The upload file, JSON Lines in the order of the annotations, of the questions that have an answer."""
    names = (question.question_id for question in questions if question.question_id in texts)
    lines = ({"question_id": name, "prediction": texts[name]} for name in names)
    return "".join(json.dumps(line) + "\n" for line in lines)
