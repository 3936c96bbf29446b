"""Commands run in this process, as a person would type them."""

import importlib
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import PARITY
from shallow import shallow

from llava.eval.runs.command import run

TINY = shallow("llava-tiny-12l")  # an answer is compared with another, not with a recorded one
SCRIPTS = Path(__file__).parents[2] / "scripts"
# A bar says `3.2question/s`, `1.05s/question` where the machine is slow, or `?question/s` before it knows.
PROGRESS = re.compile(r"%\|.*question[]/]")


class Outcome(NamedTuple):
    """What a command left behind: exit code, stdout, stderr without progress bars."""

    code: int
    out: str
    err: str


def call(module: str, capsys: pytest.CaptureFixture, *arguments: object) -> Outcome:
    """`python -m llava.eval.<module> arguments`."""
    main = importlib.import_module(f"llava.eval.{module}").main
    return _outcome(lambda: run(main), capsys, [module, *map(str, arguments)])


def call_script(name: str, capsys: pytest.CaptureFixture, *arguments: object) -> Outcome:
    """`python scripts/<name>.py arguments`."""
    path = str(SCRIPTS / f"{name}.py")
    return _outcome(lambda: runpy.run_path(path, run_name="__main__"), capsys, [path, *map(str, arguments)])


def _outcome(command: Callable[[], object], capsys: pytest.CaptureFixture, arguments: list[str]) -> Outcome:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", arguments)
        try:
            command()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    # Progress bars rewrite their line; what they leave is not what a command says.
    said = [line for line in err.replace("\r", "\n").split("\n") if line.strip() and not PROGRESS.search(line)]
    return Outcome(code, out, "\n".join(said))


def questions(folder: Path, count: int = 4) -> Path:
    """A question file about the pictures of the pack."""
    path = folder / "questions.jsonl"
    asked = ["What color is the circle?\nAnswer the question using a single word or phrase.", "Is it a dog?", "Où?"]
    records = [
        {"question_id": f"q{at}", "image": f"{at % 4}.png", "text": asked[at % 3], "category": "default"}
        for at in range(count)
    ]
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def loader_flags(folder: Path, *more: object, answers: str = "answers/a.jsonl", model: Path = TINY) -> list[object]:
    """The loader on questions.jsonl of a folder, greedy, three tokens."""
    return [
        *("--model-path", model, "--question-file", folder / "questions.jsonl", "--image-folder", PARITY / "images"),
        *("--answers-file", folder / answers, "--conv-mode", "vicuna_v1", "--temperature", 0, "--max_new_tokens", 3),
        *more,
    ]


def records(path: Path) -> list[dict]:
    """The lines of an answers file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def texts(path: Path) -> list[str]:
    """The answers alone."""
    return [record["text"] for record in records(path)]


def small_benchmark(folder: Path) -> list[object]:
    """Four questions about two pictures and their right answers, in files of a folder; flags that name them."""
    asked = questions(folder, 4)
    lines = [record | {"image": f"{at // 2}.png"} for at, record in enumerate(records(asked))]
    asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = folder / "answers.jsonl"
    answers.write_text("".join(json.dumps(line | {"answer": "x", "category": "kind"}) + "\n" for line in lines))
    return [
        *("--model-path", TINY, "--question-file", asked, "--image-folder", PARITY / "images"),
        *("--annotation-file", answers, "--max_new_tokens", 2, "--device", "cpu"),
    ]
