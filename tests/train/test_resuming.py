"""A run that is killed and started again ends with the weights of one that was not, whatever it trains."""

import copy
import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from processes import start
from safetensors.torch import load_file
from shallow import shallow
from training_runs import TALKS, flags, projector_file, write_data
from transformers import TrainerCallback

from llava.model.builder import load_pretrained_model
from llava.train.flags import parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.saving import last_checkpoint
from llava.train.train import make_trainer, train

MODEL = shallow("llava-tiny-12l")
MODES = {
    "full": (),
    "lora": ("--lora_enable", "True", "--lora_r", "4", "--lora_alpha", "8", "--mm_projector_lr", "2e-5"),
    "projector": ("--tune_mm_mlp_adapter", "True"),
}
# Some kills in the suite; more where they are asked for.
KILLS = int(os.environ.get("TRAINING_KILLS", "2"))


class Killed(Exception):
    """Stands for the end of a process."""


class KillAt(TrainerCallback):
    """Ends a run at a step, before or after its checkpoint is written."""

    def __init__(self, step: int, saved: bool) -> None:
        self.step, self.saved = step, saved

    def on_step_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
        if not self.saved and state.global_step == self.step:
            raise Killed

    def on_save(self, args: object, state: object, control: object, **kwargs: object) -> None:
        if self.saved and state.global_step == self.step:
            raise Killed


def settings(folder: Path, mode: str) -> list[str]:
    """Two epochs of two steps each, with a checkpoint after every step."""
    more = ("--num_train_epochs", "2", "--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "2")
    own = ("--vision_tower", str(MODEL / "vision_tower"), *MODES[mode])
    return flags(folder, *more, *own, data=write_data(folder), model=MODEL)


def weights(trainer: LLaVATrainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


Whole = Callable[[str], tuple[LLaVATrainer, Path]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run of a mode that nothing interrupted, and its folder; made once."""

    @cache
    def made(mode: str) -> tuple[LLaVATrainer, Path]:
        folder = tmp_path_factory.mktemp(mode)
        return train(settings(folder, mode)).trainer, folder / "out"

    return made


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.long
def test_resumed_runs_end_with_the_same_weights(mode: str, whole: Whole, tmp_path: Path) -> None:
    wanted, torn = weights(whole(mode)[0]), settings(tmp_path, mode)
    for step, saved in ((1, True), (3, True)):  # each in the middle of an epoch
        trainer = make_trainer(parse(torn))
        trainer.add_callback(KillAt(step, saved))
        with pytest.raises(Killed):
            trainer.train(resume_from_checkpoint=last_checkpoint(str(tmp_path / "out")))
    # What a kill leaves that comes while a checkpoint is written.
    half = tmp_path / "out/checkpoint-4"
    half.mkdir(exist_ok=True)
    (half / "trainer_state.json").write_text('{"global_step": ')
    got = weights(train(torn).trainer)
    assert wanted.keys() == got.keys() and wanted
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert len(kept) <= 3 and "checkpoint-4" in kept  # the torn one was never the trainer's


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_what_is_saved_loads_and_lies_as_llavas_does(mode: str, whole: Whole) -> None:
    trainer, out = whole(mode)
    base = None if mode == "full" else str(MODEL)
    merged = copy.deepcopy(trainer.model).merge_and_unload() if mode == "lora" else trainer.llava
    own = merged.state_dict()
    assert _checkpoints(out) == {"checkpoint-3", "checkpoint-4"}  # save_total_limit
    for folder in (out, out / "checkpoint-3", out / "checkpoint-4"):
        assert tensor_names(folder) == NAMES[mode]
        config = json.loads((folder / "config.json").read_text())
        assert set(FIELDS) <= config.keys() and config["model_type"] in ("llava", "llava_llama")
        kind = "llava-lora" if mode == "lora" else "llava"
        _, model, _, _ = load_pretrained_model(str(folder), base, kind, device="cpu", torch_dtype=torch.float32)
        for key, tensor in model.state_dict().items():
            if folder.name != "checkpoint-3":
                torch.testing.assert_close(tensor, own[key], atol=1e-6 if mode == "lora" else 0, rtol=0)


# Of config.json, whatever was trained.
FIELDS = (
    *("mm_vision_tower", "use_mm_proj", "mm_projector_type", "mm_hidden_size", "mm_vision_select_layer"),
    *("mm_vision_select_feature", "mm_patch_merge_type", "image_aspect_ratio", "tokenizer_padding_side"),
    *("tokenizer_model_max_length", "tune_mm_mlp_adapter", "freeze_mm_mlp_adapter", "mm_use_im_start_end"),
    *("mm_projector_lr", "mm_use_im_patch_token"),
)
PROJECTOR = {f"model.mm_projector.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
PARTS = {part: "mlp" for part in ("gate_proj", "up_proj", "down_proj")}
PARTS |= {f"{letter}_proj": "self_attn" for letter in "qkvo"}
ADAPTER = {
    f"base_model.model.model.layers.{layer}.{room}.{part}.lora_{side}.weight"
    for layer in range(12)
    for part, room in PARTS.items()
    for side in "AB"
}
NAMES = {
    "full": set(load_file(MODEL / "model.safetensors"))
    | {f"model.vision_tower.vision_tower.{name}" for name in load_file(MODEL / "vision_tower/model.safetensors")},
    "lora": ADAPTER | {f"base_model.model.{name}" for name in PROJECTOR},
    "projector": PROJECTOR,
}


def tensor_names(folder: Path) -> set[str]:
    """What the weights in a folder are called, an adapter's and what lies beside it together."""
    names: set[str] = set()
    for path in folder.iterdir():
        if path.name in ("mm_projector.bin", "non_lora_trainables.bin"):
            names |= set(torch.load(path))
        elif path.name in ("model.safetensors", "adapter_model.safetensors"):
            names |= set(load_file(path))
    return names


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES if "TRAINING_KILLS" in os.environ else ["lora"])
@pytest.mark.long
def test_kills_at_any_time(mode: str, tmp_path: Path) -> None:
    """SIGKILL at a random moment of a random step, as often as asked for, of runs with so many epochs."""
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
    epochs = ("--num_train_epochs", str(KILLS))
    wanted = weights(train([*settings(tmp_path / "whole", mode), *epochs]).trainer)
    torn, out = [*settings(tmp_path / "torn", mode), *epochs], tmp_path / "torn/out"
    draw, killed = random.Random(KILLS), 0
    for _ in range(KILLS):
        process = start(train, torn)
        found, more = _checkpoints(out), draw.choice((1, 1, 1, 2))
        while process.is_alive() and len(_checkpoints(out) - found) < more:
            time.sleep(0.01)  # as a rule it is saving now
        time.sleep(draw.random() * 0.3)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode != 0
    assert killed >= min(KILLS, 2) - 1
    got = weights(train(torn).trainer)
    assert wanted.keys() == got.keys() and all(torch.equal(wanted[name], got[name]) for name in wanted)


def _checkpoints(out: Path) -> set[str]:
    return {path.name for path in out.glob("checkpoint-*")}


@pytest.mark.long
def test_a_second_pretraining_goes_on(tmp_path: Path) -> None:
    """LLaVA's stops there: it looks for a whole model in a checkpoint that holds a projector."""
    more = ("--pretrain_mm_mlp_adapter", str(projector_file(tmp_path)), "--tune_mm_mlp_adapter", "True")
    given = flags(tmp_path, "--save_strategy", "steps", "--save_steps", "1", *more, data=write_data(tmp_path, TALKS))
    first = weights(train(given).trainer)
    again = weights(train(given).trainer)
    assert all(torch.equal(first[name], again[name]) for name in first)
