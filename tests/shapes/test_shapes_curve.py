"""The picture of a training run shows what its logs hold, that of one that was stopped and went on too."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from llava.errors import InputError
from playground.shapes import curve


def write_run(folder: Path) -> None:
    """A run of two stages: states of the trainer at two checkpoints, the later with all of the log."""
    for stage, steps in (("tower", (9, 100)), ("questions", (100, 200))):
        history = [{"step": step, "loss": 10.0 / step} for step in range(10, steps[-1] + 1, 10)]
        for step in steps:
            state = {"log_history": [entry for entry in history if entry["step"] <= step] + [{"train_loss": 1.0}]}
            (folder / stage / f"checkpoint-{step}").mkdir(parents=True)
            (folder / stage / f"checkpoint-{step}/trainer_state.json").write_text(json.dumps(state))
    held = [
        {"step": 100, "seconds": 5, "all": 40.0, "place": 30.0},
        {"step": 200, "seconds": 9, "all": 60.0, "place": 50},
    ]
    (folder / "questions.held_out.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in held))


def test_curves_hold_every_stage_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    earlier = [{"name": "an earlier one", "held_out": [{"step": 100, "all": 10}]}]
    (tmp_path / "attempts.json").write_text(json.dumps(earlier))
    flags = ["--run", tmp_path, "--output", tmp_path, "--attempts", tmp_path / "attempts.json"]
    monkeypatch.setattr(sys, "argv", ["curve", *map(str, flags)])

    curve.main()

    log = json.loads((tmp_path / "training.json").read_text())
    assert list(log) == ["tower", "questions"]
    assert log["tower"]["loss"][-1] == {"step": 100, "loss": 0.1} and log["tower"]["held_out"] == []
    assert [entry["all"] for entry in log["questions"]["held_out"]] == [40.0, 60.0]
    with Image.open(tmp_path / "training.png") as two, Image.open(tmp_path / "attempts.png") as one:
        assert two.size == (900, 600) and one.size == (700, 400)
        assert len(one.convert("RGB").getcolors(10_000) or []) > 20


def test_questions_asked_alone_go_on_where_the_conversations_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    write_run(tmp_path)
    drawn = []
    monkeypatch.setattr(Axes, "plot", lambda self, steps, right, **_: drawn.append((steps, right)))
    monkeypatch.setattr(Axes, "legend", lambda self, **_: None)
    log = curve.read_run(tmp_path) | {"alone": {"loss": [], "held_out": [{"step": 100, "all": 70.0}]}}

    curve.plot_attempts(log, [], tmp_path / "attempts.png", "this model")

    assert drawn == [([100, 200, 300], [40.0, 60.0, 70.0])]


def test_a_run_that_went_on_from_another_is_drawn_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    entries = [{"step": 100, "loss": 2.0}]
    earlier = {
        "tower": {"loss": [{"step": 10, "loss": 7.0}], "held_out": []},
        "captions": {"loss": entries, "held_out": []},
    }
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    flags = ["--run", tmp_path, "--output", tmp_path, "--onto", tmp_path / "earlier.json"]
    monkeypatch.setattr(sys, "argv", ["curve", *map(str, flags)])

    curve.main()

    log = json.loads((tmp_path / "training.json").read_text())
    assert set(log) == {"tower", "captions", "questions"} and log["captions"]["loss"] == entries
    assert log["tower"]["loss"][-1] == {"step": 100, "loss": 0.1}


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has none; give the --output of the training"):
        curve.read_run(tmp_path)
