"""Scenes of the commands that answer questions, up to where weights would be read."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import TINY
from published import WRITERS, lines
from scene import Scene, answers, module, scene_of


def loader(folder: Path) -> Scene:
    """A question file, up to where weights would be read."""
    return _runner(folder, "pope", "model_vqa_loader", "pope/llava_pope_test.jsonl", "pope/val2014")


def open_ended(folder: Path) -> Scene:
    """A question file that wants long answers."""
    return _runner(folder, "mmvet", "model_vqa", "mm-vet/llava-mm-vet.jsonl", "mm-vet/images")


def science_runner(folder: Path) -> Scene:
    """ScienceQA's questions."""
    return _runner(folder, "sqa", "model_vqa_science", "scienceqa/llava_test_CQM-A.json", "scienceqa/images/test")


def mmbench_runner(folder: Path) -> Scene:
    """MMBench's table."""
    return _runner(folder, "mmbench", "model_vqa_mmbench", "mmbench/mmbench_dev_20230712.tsv", "")


def finished(folder: Path) -> Scene:
    """The files of a run that was cut off: answers, settings, and answers that wait for their turn."""
    scene = loader(folder)
    asked, path = scene.files[0], folder / "answers.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["command", *scene.arguments])
        with pytest.raises(SystemExit):
            scene.command()
    held = Path(f"{path}.held.jsonl")
    answers(asked, path, "Yes")
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    lines(path, whole[:2])
    lines(held, [{"number": number, "record": whole[number]} for number in (3, 5)])
    return scene_of([path, Path(f"{path}.settings.json"), held], scene.command, *scene.arguments)


def _runner(folder: Path, name: str, command: str, asked: str, images: str) -> Scene:
    WRITERS[name](folder)
    flags = ("--model-path", TINY, "--question-file", folder / asked, "--image-folder", folder / images)
    flags += ("--answers-file", folder / "answers.jsonl", "--method", "none")
    return scene_of([folder / asked], _before_loading(module(command)), *flags)


def _before_loading(command: Callable[[], Any]) -> Callable[[], Any]:
    """A runner that ends well where it would read weights."""

    def stopped() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("llava.eval.runs.llava_run.load_model", lambda *_, **__: sys.exit(0))
            command()

    return stopped
