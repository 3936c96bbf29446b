"""What a run computes in and trains, where LLaVA does something else without a word."""

from pathlib import Path

import pytest
import torch
from training_runs import TINY, flags

from llava.model.builder import load_pretrained_model
from llava.train.flags import parse
from llava.train.train import finish, make_trainer

LORA = ("--lora_enable", "True", "--lora_r", "2")


@pytest.mark.parametrize(("flag", "dtype"), [("False", torch.float32), ("True", torch.bfloat16)])
def test_the_tower_computes_in_the_dtype_of_the_run(flag: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """LLaVA's computes in float16 where the run does not say bf16."""
    llava = make_trainer(parse(flags(tmp_path, "--bf16", flag))).llava
    tower = llava.get_vision_tower()
    assert {p.dtype for p in tower.parameters()} == {p.dtype for p in llava.parameters()} == {dtype}


def test_no_adapter_goes_on_a_tower(tmp_path: Path) -> None:
    """This checkpoint says unfreeze_mm_vision_tower, so its tower is there when LLaVA's adapters look for names."""
    trainer = make_trainer(parse(flags(tmp_path, *LORA, model=TINY.parent / "llava-tiny-next")))
    adapted = [name for name, _ in trainer.model.named_parameters() if "lora_" in name]
    assert len(adapted) == 448 and not any("vision_tower" in name for name in adapted)


def test_biases_that_are_trained_with_an_adapter_load(tmp_path: Path) -> None:
    """Only those of what is trained; LLaVA's file has the tower's too."""
    trainer = make_trainer(parse(flags(tmp_path, *LORA, "--lora_bias", "all")))
    finish(trainer)
    arguments = {"device": "cpu", "torch_dtype": torch.float32}
    _, model, _, _ = load_pretrained_model(str(tmp_path / "out"), str(TINY), "llava-lora", **arguments)
    own = trainer.llava.get_model().mm_projector[0].bias
    assert torch.equal(model.get_model().mm_projector[0].bias, own)
