"""What the tests with the real lmms-eval share, imported by name; without lmms-eval they are skipped.

`make test-harness` has it.
"""

from pathlib import Path
from typing import Any

import pytest
from lmms_runs import SHAPES, python

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed; make test-harness has it")

ASKED = 60


@pytest.fixture(scope="session", name="tasks")
def tasks_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes benchmark's tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    python("-m", "llava.eval.harness.shapes_task", "--output", folder)
    return folder


@pytest.fixture(scope="session", name="first_questions")
def questions_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark's first questions, about ten pictures."""
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    lines = (SHAPES / "questions.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:ASKED]))
    return path


def ask(model: Any, asked: list[tuple[str, list[Any]]], second: Any, method: str = "generate_until") -> list[Any]:
    """What one of lmms-eval's models makes of its requests: texts and the pictures that they are about."""
    from lmms_eval.api.instance import Instance

    about = {"task": "t", "repeats": 1}
    model.task_dict = {"t": {"test": [{"pictures": pictures} for _, pictures in asked]}}

    def made(number: int, text: str) -> Any:
        arguments = (text, second, lambda doc: doc["pictures"], number, "t", "test")
        return Instance(method, arguments, 0, about | {"doc_id": number})

    requests = [made(number, text) for number, (text, _) in enumerate(asked)]
    return getattr(model, method)(requests)
