"""A small benchmark for the commands that compare methods."""

import json
from pathlib import Path

import pytest
from commands import TINY, questions
from conftest import PARITY


@pytest.fixture
def pictures() -> Path:
    """Where the pictures of the small benchmark are."""
    return PARITY / "images"


@pytest.fixture
def commands_questions(tmp_path: Path) -> Path:
    """Four questions about two pictures."""
    path = questions(tmp_path, 4)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records = [record | {"image": f"{at // 2}.png"} for at, record in enumerate(records)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    answers = "".join(json.dumps(record | {"answer": "x", "category": "kind"}) + "\n" for record in records)
    (tmp_path / "answers.jsonl").write_text(answers)
    return path


@pytest.fixture
def benchmark_flags(commands_questions: Path, pictures: Path) -> list[object]:
    """Flags that name model, questions, right answers and pictures."""
    answers = commands_questions.parent / "answers.jsonl"
    return [
        *("--model-path", TINY, "--question-file", commands_questions, "--image-folder", pictures),
        *("--annotation-file", answers, "--max_new_tokens", 2, "--device", "cpu"),
    ]
