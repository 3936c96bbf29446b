"""Answers come image by image and are written in the order of the questions; early ones wait in a file beside.

The answers file holds the first answers without a gap, as LLaVA's does. An answer that is ready before its turn goes to
`<file>.held.jsonl` at once, so that a run which is killed has lost nothing, and from there to its place.
"""

import json
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.runs.answers import AnswersFile, append_lines
from llava.eval.runs.questions import Question


class OrderedAnswers:
    """Answers to numbered questions, in any order, into an open answers file.

    Args:
        answers: open; holds the answers to the first questions already.
        questions: of this run, in order.

    Attributes:
        known: numbers of the questions that have an answer, written or held.
    """

    def __init__(self, answers: AnswersFile, questions: list[Question]) -> None:
        self._answers, self._questions = answers, questions
        self._next = _count_done(answers, questions)
        self._path = Path(f"{answers.path}.held.jsonl")
        if not self._next:
            self._path.unlink(missing_ok=True)  # of a run whose answers file is gone or overwritten
        self._held = self._read_held()
        self.known = {*range(self._next), *self._held}
        self._write_turns()

    @property
    def done(self) -> int:
        """How many questions have an answer."""
        return len(self.known)

    def add(self, records: dict[int, dict[str, Any]]) -> None:
        """Take answers by the number of their question; those known already are passed over."""
        new = {number: record for number, record in records.items() if number not in self.known}
        early = []
        turn = self._next
        for number in sorted({*new, *self._held}):
            if number == turn:
                turn += 1
            elif number in new:
                early.append({"number": number, "record": new[number]})
        self._held |= new
        self.known |= new.keys()
        if early:
            with open(self._path, "ab", buffering=0) as file:
                append_lines(file, self._path, early)
        self._write_turns()

    def _write_turns(self) -> None:
        """Write what has its turn; with nothing left to hold, the file beside goes."""
        ready = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        if ready:
            self._answers.write(ready)
        if not self._held:
            self._path.unlink(missing_ok=True)

    def _read_held(self) -> dict[int, dict[str, Any]]:
        """What an earlier run left beside; a torn last line is cut off, what does not fit is answered again."""
        if not self._path.is_file():
            return {}
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with open(self._path, "r+b") as file:
                file.truncate(len(whole))
        held = {}
        for line in whole.splitlines():
            entry = json.loads(line)
            number, record = entry["number"], entry["record"]
            if self._next <= number < len(self._questions) and not _differing(record, self._questions[number]):
                held[number] = record
        return held


def _differing(record: dict[str, Any], question: Question) -> str | None:
    """The first key in which a record is not about a question."""
    return next((key for key in question.head if record.get(key) != question.head[key]), None)


def _count_done(answers: AnswersFile, questions: list[Question]) -> int:
    """Answers that are there already; they must be those to the first questions."""
    for number, (record, question) in enumerate(zip(answers.done, questions), 1):
        wrong = _differing(record, question)
        if wrong is not None:
            raise InputError(
                f"answers are continued only for the questions they were begun with: '{answers.path}' line {number} "
                f"has {wrong} {record.get(wrong)!r}, expected {question.head[wrong]!r}; use --overwrite"
            )
    if len(answers.done) > len(questions):
        raise InputError(
            f"an answers file holds one line per question: '{answers.path}' has {len(answers.done)}, expected at most "
            f"{len(questions)}; use --overwrite"
        )
    return len(answers.done)
