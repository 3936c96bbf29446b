"""What is fuzzed: a folder of good files, which of them are damaged in turn, and the command that reads them."""

import importlib
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import SCRIPTS
from published import lines


@dataclass(frozen=True)
class Scene:
    """Attributes:
    files: those that are damaged, one at a time.
    command: what reads them.
    arguments: its command line.
    """

    files: list[Path]
    command: Callable[[], Any]
    arguments: list[str]


def answers(questions: Path, path: Path, text: str) -> Path:
    """An answers file that says the same to every question."""
    asked = [json.loads(line) for line in questions.read_text().splitlines()]
    lines(path, [{"question_id": q["question_id"], "prompt": q["text"], "text": text} for q in asked])
    return path


def module(name: str) -> Callable[[], Any]:
    """`python -m llava.eval.<name>`."""
    return lambda: importlib.import_module(f"llava.eval.{name}").main()


def script(name: str) -> Callable[[], Any]:
    """`python scripts/<name>.py`."""
    return lambda: runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")


def scene_of(files: list[Path], command: Callable[[], Any], *arguments: object) -> Scene:
    return Scene(files, command, [str(argument) for argument in arguments])
