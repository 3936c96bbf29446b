"""Answers come image by image and are written in the order of the questions; early ones wait in a file beside.

The answers file holds the first answers without a gap, as LLaVA's does. An answer that is ready before its turn goes to
`<file>.held.jsonl` at once, so that a run which is killed has lost nothing, and from there to its place.
"""

import io
import os
import sys
from typing import Any

from llava.errors import InputError, shown
from llava.eval.files import skipped_because
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.lines import append, encoded, records_in, unwritable, whole_part
from llava.eval.runs.questions import Question, can_be_read
from llava.files.reading import read_bytes
from llava.files.writing import write_bytes


class OrderedAnswers:
    """Answers to numbered questions, in any order, into an open answers file.

    A question that was skipped for its picture counts as answered, until its picture can be read.

    Args:
        answers: open; holds the answers to the first questions already.
        questions: of this run, in order.

    Attributes:
        known: numbers of the questions that have an answer, written or held.

    Raises:
        InputError: when what is there already are no answers to these questions.
    """

    def __init__(self, answers: AnswersFile, questions: list[Question]) -> None:
        self._answers, self._questions = answers, questions
        self._path = answers.held_path
        _check_done(answers, questions)
        if answers.anew and not answers.replaces and os.path.lexists(self._path):
            self._path.unlink()  # of a run whose answers file is gone
        self._next = self._make_way_for_mended()
        self._held = {} if answers.anew else self._read_held()
        self.known = {*range(self._next), *self._held}
        self._write_turns()

    @property
    def done(self) -> int:
        """How many questions have an answer."""
        return len(self.known)

    def add(self, records: dict[int, dict[str, Any]]) -> None:
        """Take answers by the number of their question; those known already are passed over."""
        new = {number: record for number, record in records.items() if number not in self.known}
        if not new:
            return
        self._held |= new
        self.known |= new.keys()
        self._write_turns()
        self._hold({number: new[number] for number in sorted(new) if number in self._held})

    def _write_turns(self) -> None:
        """Write what has its turn; with nothing left to hold, the file beside goes."""
        ready = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        if ready or (self._held and self._answers.replaces):
            self._answers.write(ready)
        if not self._held and not self._answers.replaces and not self._answers.read_only and self._path.exists():
            self._path.unlink()

    def _hold(self, early: dict[int, dict[str, Any]]) -> None:
        """Append answers to the file beside."""
        if not early:
            return
        try:
            with io.FileIO(self._path, "a") as file:
                append(file, self._path, encoded([{"number": n, "record": record} for n, record in early.items()]))
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _make_way_for_mended(self) -> int:
        """Where skipped questions can be asked after all, hold what comes after the first; how many lines stay."""
        done = self._answers.done
        mended = [n for n, record in enumerate(done) if not _is_settled(record, self._questions[n])]
        if not mended or self._answers.read_only:
            return len(done)
        self._hold({n: done[n] for n in range(mended[0], len(done)) if n not in mended})
        self._answers.cut(mended[0])
        return mended[0]

    def _read_held(self) -> dict[int, dict[str, Any]]:
        """What an earlier run left beside. A torn last line and what does not fit are taken out and answered again."""
        if not os.path.lexists(self._path):
            return {}
        content = read_bytes(self._path, "answers that wait for their turn")
        held: dict[int, dict[str, Any]] = {}
        foreign = 0
        for _, entry in records_in(whole_part(content)):
            answer = self._answer_in(entry or {})
            if answer is None:
                foreign += 1
            elif answer[0] >= self._next and _is_settled(answer[1], self._questions[answer[0]]):
                held[answer[0]] = answer[1]
        if foreign:
            print(
                f"WARNING: {foreign} lines of {shown(str(self._path), 300)} are no answers of this run; what is "
                f"missing is answered again",
                file=sys.stderr,
            )
        if foreign or content != whole_part(content):
            write_bytes(self._path, encoded([{"number": n, "record": record} for n, record in held.items()]))
        return held

    def _answer_in(self, entry: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The number and record of a line of the file beside; None where it is no answer to that question."""
        number, record = entry.get("number"), entry.get("record")
        if type(number) is not int or not 0 <= number < len(self._questions) or not isinstance(record, dict):
            return None
        return (number, record) if _differing(record, self._questions[number]) is None else None


def _is_settled(record: dict[str, Any], question: Question) -> bool:
    """Whether a record stays: not where the question was skipped and its picture can be read now."""
    return skipped_because(record) is None or not can_be_read(question)


def _differing(record: dict[str, Any], question: Question) -> str | None:
    """The first key in which a record is no answer to a question."""
    expected = question.head | question.tail
    if not isinstance(record.get("text"), str):
        return "text"
    return next((key for key in expected if record.get(key) != expected[key]), None)


def _check_done(answers: AnswersFile, questions: list[Question]) -> None:
    """Answers that are there already must be those to the first questions."""
    for number, (record, question) in enumerate(zip(answers.done, questions), 1):
        wrong = _differing(record, question)
        if wrong is not None:
            expected = shown((question.head | question.tail).get(wrong, "a text"))
            raise InputError(
                f"answers are continued only for the questions they were begun with: '{answers.path}' line {number} "
                f"has {wrong} {shown(record.get(wrong))}, expected {expected}; use --overwrite"
            )
    if len(answers.done) > len(questions):
        raise InputError(
            f"an answers file holds one line per question: '{answers.path}' has {len(answers.done)}, expected at most "
            f"{len(questions)}; use --overwrite"
        )
