"""GQA's files: the questions with what is scored by, and the predictions. Either may be a folder of parts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import quoted
from llava.eval.benchmarks.vqa import by_key
from llava.files.reading import files_in, read_json

# Operations that look something up without being a step of reasoning, in the text "operation: argument".
NO_STEP = ("exist", "query: name", "choose name")


@dataclass(frozen=True)
class Question:
    """What of a question counts for its scores.

    Attributes:
        answer: the only right one.
        structural: choose, compare, logical, query or verify.
        semantic: attr, cat, global, obj or rel.
        group: questions whose answers are compared as a distribution; None where there is no such group.
        steps: reasoning steps.
        words: words of the question.
        balanced: whether it counts; the others serve consistency only.
        entailed: ids of questions whose answers follow from this one's.
    """

    answer: str
    structural: str
    semantic: str
    group: str | None
    steps: int
    words: int
    balanced: bool
    entailed: tuple[str, ...]


def steps_of(operations: list[dict[str, Any]]) -> int:
    """How many of a question's semantic operations are steps of reasoning."""
    texts = [f"{_text(operation['operation'])}: {operation['argument']}" for operation in _list(operations)]
    return sum(not any(part in text for part in NO_STEP) for text in texts)


def question_of(record: dict[str, Any]) -> Question:
    """A question from its record in the question file; KeyError or TypeError for one that is made otherwise."""
    types = record["types"]
    return Question(
        answer=_text(record["answer"]),
        structural=_text(types["structural"]),
        semantic=_text(types["semantic"]),
        group=None if record["groups"]["global"] is None else _text(record["groups"]["global"]),
        steps=steps_of(record["semantic"]),
        words=len(record["question"].split()),
        balanced=_flag(record["isBalanced"]),
        entailed=tuple(str(name) for name in _list(record.get("entailed", []))),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is no text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{shown(value)} is neither true nor false")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{shown(value)} is no list")
    return value


def prediction_of(text: str) -> str:
    """What an answer is as a prediction: without full stops at its end, in lower case."""
    return text.rstrip(".").lower()


def read_parts(path: str, what: str) -> list[Any]:
    """The JSON of a file, or of every `*.json` of a folder in the order of their names."""
    if not Path(path).is_dir():
        return [read_json(path, what)]
    files = files_in(path, "*.json")
    if not files:
        raise InputError(f"{what} may be a folder of JSON files: '{path}' has none; check the path")
    return [read_json(str(file), what) for file in files]


def read_questions(path: str) -> dict[str, Question]:
    """The questions by id.

    Raises:
        InputError: for what is no JSON, is made otherwise, or has no question that counts.
    """
    questions: dict[str, Question] = {}
    for part in read_parts(path, "GQA's questions"):
        if not isinstance(part, dict):
            raise InputError(f"GQA's questions are one object by id: '{path}' is none; give *_questions.json")
        for question_id, record in part.items():
            try:
                questions[question_id] = question_of(record)
            except (KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"a question of GQA has answer, question, types, groups, semantic and isBalanced: '{path}' "
                    f"question {quoted(question_id)} has not ({type(error).__name__}: {error}); give "
                    f"*_questions.json of a split with answers"
                ) from None
    if not any(question.balanced for question in questions.values()):
        raise InputError(f"GQA is scored on balanced questions: '{path}' has none; give *_balanced_questions.json")
    return questions


def read_predictions(path: str) -> dict[str, str]:
    """The predictions by question id as text, as `scripts/convert_gqa_for_eval.py` writes them.

    Raises:
        InputError: for what is no JSON or no list of predictions, and for a question that is answered twice.
    """
    parts = read_parts(path, "GQA's predictions")
    if not all(isinstance(part, list) for part in parts):
        raise InputError(
            f"GQA's predictions are a list: '{path}' is none; make it with scripts/convert_gqa_for_eval.py"
        )
    return by_key([item for part in parts for item in part], "questionId", "prediction", path)
