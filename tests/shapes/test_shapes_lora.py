"""The example of docs/training.md: its data is LLaVA's, its answers are right, and its road leads through training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llava.errors import InputError
from llava.model.builder import load_pretrained_model
from llava.model.tokenizer import LlamaTokenizer
from llava.train.data.samples import read_samples
from llava.train.train import train
from playground.shapes import lora, score
from playground.shapes.export import export
from playground.shapes.models import build_llava
from playground.shapes.own_data import FIRST_SCENE, held_out_data, training_data, write_data
from playground.shapes.questions import SHORT
from playground.shapes.scene import PLACES, Scene, make_scene
from playground.shapes.split import PICTURES
from playground.shapes.tower import TowerWithTeacher

IMAGES = Path(__file__).parents[2] / "playground/shapes/images"


def at(scene: Scene, text: str) -> str:
    """The right answer, found by pixels' thirds and not by the generator's own number of a place."""
    [place] = [name for name in PLACES if text.removesuffix(SHORT) == f"What is at the {name}?"]
    [thing] = [one for one in scene.things if PLACES[int(3 * one.y / 128) * 3 + int(3 * one.x / 128)] == place]
    return f"{thing.color} {thing.shape}"


def test_every_thing_is_asked_for_and_every_answer_is_right() -> None:
    scenes, talks = training_data(pictures=40, seed=0)
    for scene, record in zip(scenes, talks, strict=True):
        asked, answers = record["conversations"][::2], record["conversations"][1::2]
        assert len({message["value"] for message in asked}) == len(answers) == len(scene.things)
        assert asked[0]["value"].startswith("<image>\n") and asked[0]["value"].endswith(SHORT)
        for question, answer in zip(asked, answers, strict=True):
            assert at(scene, question["value"].removeprefix("<image>\n")) == answer["value"]
    questions, answers = held_out_data(pictures=40, seed=0)
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        assert question["image"] == answer["image"] == f"{number:05d}.png"
        assert at(make_scene(0, "test", number), question["text"]) == answer["answer"]


def test_nothing_that_is_asked_was_trained_on() -> None:
    assert FIRST_SCENE > 5 * 10_000_000 + 32 * 1800  # the recipe's last stage, and its longest
    assert all(make_scene(0, "train", FIRST_SCENE + number).split == "train" for number in range(20))
    assert len(list(IMAGES.glob("*.png"))) == PICTURES


def test_the_data_can_be_trained_on(tmp_path: Path) -> None:
    write_data(tmp_path, pictures=3, held_out=2)
    samples = read_samples(str(tmp_path / "train.json"), str(tmp_path / "images"))
    assert len(samples.kept) == 3 and not samples.silent


def test_the_whole_road(
    tokenizer: LlamaTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Data, scores, two steps by training's own function, the adapter loaded on its base, scores again."""
    # As many layers as VisionDrop has stages.
    llava = build_llava(TowerWithTeacher(width=64, layers=2).clip.config.vision_config, width=32, layers=4)
    export(llava, Path(tokenizer.vocab_file), tmp_path / "base")
    commands = []

    def here(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        train([*command[3:], "--disable_tqdm", "True"])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(lora.subprocess, "run", here)
    sizes = ["--pictures", "20", "--held-out", "3", "--retain", "100"]
    flags = ["--output", str(tmp_path / "run"), "--base", str(tmp_path / "base"), "--images", str(IMAGES)]
    flags += ["--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["lora", *flags, *sizes])

    lora.main()

    said = capsys.readouterr().out.splitlines()
    assert commands[0][1:3] == ["-m", "llava.train.train"] and commands[0][-2:] == ["--use_cpu", "True"]
    assert said[-4:-2] == ["| 3 questions, % right | before | after |", "|---|--:|--:|"]
    assert said[-2].startswith("| all tokens | ") and said[-1].startswith("| visiondrop, 100 tokens | ")
    adapter = tmp_path / "run" / lora.ADAPTER
    state = json.loads((adapter / "trainer_state.json").read_text())
    assert state["global_step"] == 2 and (adapter / "checkpoint-2/adapter_model.safetensors").is_file()
    _, merged, _, _ = load_pretrained_model(str(adapter), str(tmp_path / "base"), lora.ADAPTER, device="cpu")
    _, base, _, _ = load_pretrained_model(str(tmp_path / "base"), None, "llava", device="cpu")
    learned = {name for name, weight in merged.state_dict().items() if not torch.equal(weight, base.state_dict()[name])}
    assert learned and all("proj" in name and "vision_tower" not in name for name in learned)


def test_a_training_that_fails_ends_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "scores_of", lambda *_: {})
    monkeypatch.setattr(lora.subprocess, "run", lambda command: subprocess.CompletedProcess(command, 2))
    monkeypatch.setattr(sys, "argv", ["lora", "--output", str(tmp_path), "--pictures", "1", "--held-out", "1"])

    with pytest.raises(lora.InputError, match="training ended early"):
        lora.main()


def test_the_example_computes_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Questions before, training, questions after: on an accelerator where there is one, unless --device says cpu."""
    places, commands = [], []

    def noted(path: str, base: str | None, name: str, device: str) -> None:
        places.append(device)
        raise InputError("far enough")

    def trained(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(lora, "load_pretrained_model", noted)
    monkeypatch.setattr(score, "load_pretrained_model", noted)
    for device in ("auto", "cuda", "cpu"):
        monkeypatch.setattr(sys, "argv", ["score", "--device", device])
        with pytest.raises(InputError, match="far enough"):
            score.main()
        with pytest.raises(InputError, match="far enough"):
            lora.scores_of("model", None, tmp_path, tmp_path, 28, places[-1])
    assert places == ["cuda", "cuda", "cuda", "cuda", "cpu", "cpu"]

    monkeypatch.setattr(lora, "scores_of", lambda *given: places.append(given[-1]) or {})
    for device in ("auto", "cpu"):
        given = ["--output", str(tmp_path / device), "--pictures", "1", "--held-out", "1", "--device", device]
        monkeypatch.setattr(lora.subprocess, "run", trained)
        monkeypatch.setattr(sys, "argv", ["lora", *given])
        lora.main()
    assert places[-4:] == ["cuda", "cuda", "cpu", "cpu"]
    assert ["--use_cpu" in command for command in commands] == [False, True]
