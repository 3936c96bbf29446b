"""Answers to MMBench's questions, in every order of their options, and what they mean in the table's letters."""

from collections.abc import Iterable
from typing import Any

from llava.errors import InputError, shown
from llava.eval.benchmarks.answers import answered_again
from llava.eval.benchmarks.mmbench import CIRCLE, LETTERS, MOST_DIGITS, options_of
from llava.eval.benchmarks.mmbench_letters import letter_of
from llava.eval.files import read_jsonl

Rounds = dict[int, dict[int, dict[str, Any]]]  # records of an answers file by index and round
KEYS = ("question_id", "round_id", "text", "options", "option_char")


def read_rounds(path: str) -> Rounds:
    """An answers file of `model_vqa_mmbench` as records by index and round.

    Raises:
        InputError: as `read_jsonl`, for values of other kinds, and for a round that is answered twice.
    """
    answers: Rounds = {}
    for where, record in read_jsonl(path, KEYS, "MMBench's answers file", ("text",)):
        index = _index_of(record, where)
        rounds = answers.setdefault(index, {})
        if record["round_id"] in rounds:
            raise answered_again(where, str(index), "question and round")
        rounds[record["round_id"]] = record
    return answers


def _index_of(record: dict[str, Any], where: str) -> int:
    """The table's index; a number that was made text is one too."""
    index = str(record["question_id"]) if type(record["question_id"]) in (int, str) else ""
    options, letters = record["options"], record["option_char"]
    fits = {
        "question_id": index.isascii() and index.isdecimal() and len(index) <= MOST_DIGITS,
        "round_id": type(record["round_id"]) is int,
        "options": _is_texts(options),
        "option_char": _is_texts(letters) and _is_texts(options) and len(letters) == len(options),
    }
    wrong = next((name for name, fit in fits.items() if not fit), None)
    if wrong:
        raise InputError(
            f"MMBench's answers are those of model_vqa_mmbench: {where} has {wrong} {shown(record[wrong])}; give them"
        )
    return int(index)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def is_about(record: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether an answer is to the very options of a table's row."""
    return dict(zip(record["option_char"], record["options"])) == dict(zip(LETTERS, options_of(row)))


def meant(record: dict[str, Any]) -> str | None:
    """The table's letter that an answer means, Z for a refusal, None where no rule decides."""
    shown_letter = letter_of(record["text"], dict(zip(LETTERS, record["options"])))
    return dict(zip(LETTERS, record["option_char"])).get(shown_letter or "", shown_letter)


def not_turned(answers: Rounds, indices: Iterable[int]) -> list[int]:
    """The questions that are not asked once for every order of their options, by the index of the question.

    Args:
        indices: of all rows that count.
    """
    asked: dict[int, int] = {}
    options: dict[int, int] = {}
    for index in indices:
        question = index % CIRCLE
        asked[question] = asked.get(question, 0) + len(answers[index])
        options[question] = max(len(record["options"]) for record in answers[index].values())
    return [question for question, count in asked.items() if count < options[question]]
