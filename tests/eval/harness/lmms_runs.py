"""lmms-eval's command line in a process of its own, on the shapes benchmark."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / "playground" / "shapes"
MODEL = SHAPES / "llava-shapes"
HERE = Path(__file__).parent


class Run(NamedTuple):
    """What a run of lmms-eval left.

    Attributes:
        answers: by the number of the question.
        scores: by metric.
        said: stdout and stderr.
    """

    answers: dict[int, str]
    scores: dict[str, float]
    said: str


def python(*arguments: object) -> str:
    """A program of this environment, run in the repository's root; what it says."""
    own = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": f"{HERE / 'site'}{os.pathsep}{ROOT}"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def lmms_eval(model: str, words: str, tasks: Path, output: Path, *more: object, task: str = "shapes") -> Run:
    """`lmms-eval --model MODEL --model_args WORDS --tasks TASK --include_path TASKS`."""
    arguments = ["--model", model, "--model_args", words, "--tasks", task, "--include_path", tasks]
    said = python("-m", "lmms_eval", *arguments, "--output_path", output, "--log_samples", *more)
    answers: dict[int, str] = {}
    scores: dict[str, float] = {}
    for samples in output.rglob(f"*_samples_{task}.jsonl"):
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        answers = {line["doc_id"]: _only(line["filtered_resps"]) for line in lines}
    for results in output.rglob("*_results.json"):
        found = json.loads(results.read_text())["results"][task]
        scores = {name: value for name, value in found.items() if isinstance(value, float)}
    assert answers and scores, said
    return Run(answers, scores, said)


def _only(found: str | list) -> str:
    """An answer, which 0.6 writes as a list of one."""
    return found if isinstance(found, str) else found[0]
