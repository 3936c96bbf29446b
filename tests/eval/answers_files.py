"""Runs that end early, without a model: an answers file and what lies beside it."""

from pathlib import Path
from typing import Any

import pytest

from llava.errors import InputError
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.questions import Question

ASKED = [Question("here", "Is it?", None, {"question_id": at, "prompt": "Is it?"}, {"round": 0}) for at in range(6)]
SETTINGS = {"answers": 6, "method": "none"}


def given(at: int, text: str = "yes") -> dict[str, Any]:
    """An answer to question `at`."""
    return ASKED[at].head | {"text": text} | ASKED[at].tail | {"answer_id": "a", "model_id": "m", "metadata": {}}


def begun(path: Path, *answered: int, text: str = "yes", overwrite: bool = False, **changes: Any) -> None:
    """A run that ends after some answers."""
    with AnswersFile(str(path), SETTINGS | changes, overwrite) as file:
        answers = OrderedAnswers(file, ASKED)
        for at in answered:
            answers.add({at: given(at, text)})


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that lies there."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(path: Path, says: str, **how: Any) -> None:
    """The run is refused in one line."""
    with pytest.raises(InputError) as caught:
        begun(path, **how)
    assert says in str(caught.value) and "\n" not in str(caught.value)
