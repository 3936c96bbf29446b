"""The newline token of a LLaVA-NeXT goes where its projector goes: into its file, out of it, beside an adapter."""

from pathlib import Path

import pytest
import torch
from commands import call_script
from safetensors.torch import load_file
from training_runs import TINY, blind_base, flags, projector_file

from llava.errors import InputError
from llava.model.builder import load_pretrained_model
from llava.train.flags import parse
from llava.train.llava_trainer import LLaVATrainer
from llava.train.saving import load_weights
from llava.train.train import finish, make_trainer

NAME, KEY = "mm_projector.bin", "model.image_newline"
NEXT = ("--image_aspect_ratio", "anyres", "--mm_patch_merge_type", "spatial_unpad")
LORA = ("--lora_enable", "True", "--lora_r", "2")
PROJECTOR = {f"model.mm_projector.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A language model without eyes."""
    return blind_base(tmp_path)


def begun(folder: Path, base: Path, *more: str) -> LLaVATrainer:
    """A run of LLaVA-NeXT's before its first step."""
    return make_trainer(parse(flags(folder, *NEXT, *more, model=base)))


def newline(trainer: LLaVATrainer) -> torch.nn.Parameter:
    return trainer.llava.get_model().image_newline


def test_a_pretrained_projector_brings_its_newline(base: Path, tmp_path: Path) -> None:
    trainer = begun(tmp_path, base, "--tune_mm_mlp_adapter", "True")
    own = newline(trainer)
    assert not own.requires_grad and own.abs().sum() > 0  # as in LLaVA, the projector alone is trained
    finish(trainer)
    held = torch.load(tmp_path / "out" / NAME)
    assert set(held) == PROJECTOR | {KEY} and torch.equal(held[KEY], own)

    _, model, _, _ = load_pretrained_model(
        str(tmp_path / "out"), str(base), "llava", device="cpu", torch_dtype=torch.float32
    )
    assert torch.equal(model.get_model().image_newline, own)

    file = (
        "--pretrain_mm_mlp_adapter",
        str(tmp_path / "out" / NAME),
        "--seed",
        "1",
        "--output_dir",
        str(tmp_path / "next"),
    )
    later = begun(tmp_path, base, *file)
    assert torch.equal(newline(later), own) and newline(later).requires_grad

    with torch.no_grad():
        newline(later).zero_()
    load_weights(later.model, later.llava, "projector", str(tmp_path / "out"))  # as a run that goes on does
    assert torch.equal(newline(later), own)

    torch.save(held | {KEY: held[KEY][:3]}, tmp_path / "out" / NAME)
    with pytest.raises(InputError, match="image_newline is \\(3,\\), expected \\(32,\\)"):
        begun(tmp_path, base, *file)


def test_a_file_of_llavas_has_none(base: Path, tmp_path: Path) -> None:
    trainer = begun(tmp_path, base, "--pretrain_mm_mlp_adapter", str(projector_file(tmp_path)))
    assert newline(trainer).abs().sum() > 0
    weights = load_file(TINY / "model.safetensors")
    assert torch.equal(trainer.llava.get_model().mm_projector[0].weight, weights["model.mm_projector.0.weight"])


def test_a_new_newline_is_trained_beside_an_adapter(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """LLaVA makes it after the adapter has frozen the rest; it lies beside the adapter, and merges."""
    trainer = begun(tmp_path, base, *LORA)
    own = newline(trainer)
    assert own.requires_grad
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:  # which begins with zeros
                parameter.fill_(0.01)
    finish(trainer)
    beside = torch.load(tmp_path / "out/non_lora_trainables.bin")
    assert set(beside) == {f"base_model.model.{name}" for name in PROJECTOR | {KEY}}
    arguments = {"device": "cpu", "torch_dtype": torch.float32}
    _, model, _, _ = load_pretrained_model(str(tmp_path / "out"), str(base), "llava-lora", **arguments)
    assert torch.equal(model.get_model().image_newline, own)
    merged = str(tmp_path / "merged-llava")
    where = ("--model-path", tmp_path / "out", "--model-base", base, "--save-model-path", merged)
    assert call_script("merge_lora_weights", capsys, *where).code == 0
    _, again, _, _ = load_pretrained_model(merged, None, "merged-llava", **arguments)
    wanted = model.state_dict()
    assert again.config.mm_patch_merge_type == "spatial_unpad" and wanted.keys() == again.state_dict().keys()
    assert all(torch.equal(wanted[name], tensor) for name, tensor in again.state_dict().items())
    frozen = begun(tmp_path, base, "--freeze_backbone", "True", "--output_dir", str(tmp_path / "next"))
    assert newline(frozen).requires_grad and not frozen.llava.get_model().layers[0].mlp.up_proj.weight.requires_grad


def test_a_newline_that_a_checkpoint_has_is_the_bases(tmp_path: Path) -> None:
    trainer = begun(tmp_path, TINY.parent / "llava-tiny-next", *LORA)
    assert not newline(trainer).requires_grad
    weights = load_file(TINY.parent / "llava-tiny-next/model.safetensors")
    assert torch.equal(newline(trainer), weights[KEY])


def test_a_flat_llava_becomes_one_of_tiles(tmp_path: Path) -> None:
    """A projector without a newline token, trained on with tiles, gets one."""
    assert newline(begun(tmp_path, TINY)).abs().sum() > 0
