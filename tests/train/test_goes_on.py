"""A run that goes on must go on as it began, from a checkpoint that is whole; and one without a loss must stop."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from shallow import shallow
from training_runs import flags

from llava.errors import InputError
from llava.train import train as command
from llava.train.beginning import FILE, check_goes_on, remember
from llava.train.flags import parse
from llava.train.numbers import StopAtNoNumber
from llava.train.train import make_trainer

SHALLOW = shallow("llava-tiny-12l")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The parts of a checkpoint that are looked at."""
    folder = tmp_path / "out/checkpoint-1"
    folder.mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"a": torch.zeros(3)}, folder / name)
    return folder


OTHER = {
    "learning_rate": ("--learning_rate", "5"),
    "optim": ("--optim", "sgd"),
    "weight_decay": ("--weight_decay", "0.1"),
    "seed": ("--seed", "7"),
    "mm_projector_lr": ("--mm_projector_lr", "1e-5"),
    "freeze_mm_mlp_adapter": ("--freeze_mm_mlp_adapter", "True"),
    "unfreeze_mm_vision_tower": ("--unfreeze_mm_vision_tower", "True"),
    "version": ("--version", "llama_2"),
    "image_aspect_ratio": ("--image_aspect_ratio", "square"),
    "method": ("--method", "visiondrop", "--retain", "64"),
    "model_name_or_path": ("--model_name_or_path", str(SHALLOW)),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_setting_is_refused(name: str, tmp_path: Path, checkpoint: Path) -> None:
    remember(parse(flags(tmp_path)), 4)
    with pytest.raises(InputError, match=f"a run goes on as it began: --{name} was "):
        check_goes_on(str(checkpoint), parse(flags(tmp_path, *OTHER[name])), 4)


def test_what_may_change_may_change(tmp_path: Path, checkpoint: Path) -> None:
    began = parse(flags(tmp_path))
    remember(began, 4)
    check_goes_on(str(checkpoint), began, 4)
    more = ("--num_train_epochs", "3", "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "2")
    again = flags(tmp_path, *more, "--save_steps", "9", "--logging_steps", "5", "--gradient_checkpointing", "True")
    again[again.index("--model_name_or_path") + 1] += "/"
    check_goes_on(str(checkpoint), parse(again), 4)
    with pytest.raises(InputError, match="--data_path was '4 samples' and is '3 samples'"):
        check_goes_on(str(checkpoint), began, 3)
    (tmp_path / "out" / FILE).unlink()  # a run of another program, or of an older version
    check_goes_on(str(checkpoint), parse(flags(tmp_path, "--seed", "7")), 3)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_part_is_named(name: str, lost: bool, tmp_path: Path, checkpoint: Path) -> None:
    """transformers goes on with a fresh optimiser, without a word."""
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).unlink() if lost else (checkpoint / name).write_bytes(content[:-30])
    with pytest.raises(InputError, match=f"{name}' is {'not there' if lost else 'cut short'}"):
        check_goes_on(str(checkpoint), parse(flags(tmp_path)), 4)


def test_a_run_remembers_what_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    trainer = SimpleNamespace(train_dataset=[0] * 4, train=lambda **given: ran.append(given))
    monkeypatch.setattr(command, "make_trainer", lambda given, resumed: trainer)
    monkeypatch.setattr(command, "finish", ran.append)
    command.train(flags(tmp_path))
    held = json.loads((tmp_path / "out" / FILE).read_text())
    assert held["learning_rate"] == 1e-3 and held["data_path"] == "4 samples" and held["method"] == "none Unreduced()"
    assert ran == [{"resume_from_checkpoint": None}, trainer]


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    own = ("--vision_tower", str(SHALLOW / "vision_tower"))
    trainer = make_trainer(parse(flags(tmp_path, *own, model=SHALLOW)))
    assert trainer.args.logging_nan_inf_filter is False
    trainer.log({"loss": 1.5})
    for loss in (float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"the loss must be a number: it is {loss} at step 0"):
            trainer.log({"loss": loss})
    StopAtNoNumber().on_log(trainer.args, trainer.state, trainer.control, logs={"train_runtime": 1.0})
