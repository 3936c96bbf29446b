"""QLoRA: an adapter on a base of 8 or 4 bits, which bitsandbytes also computes on a CPU."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from training_runs import flags, write_data

from llava.model.builder import load_pretrained_model
from llava.train.train import train

# Its matrices are wide enough for 4 bits on a CPU.
SHAPES = Path(__file__).parents[2] / "playground/shapes/llava-shapes"


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["4", "8"])
def test_an_adapter_of_a_quantised_base(bits: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    more: tuple[str, ...] = ("--save_strategy", "steps", "--save_steps", "1")
    more += ("--bits", bits, "--lora_enable", "True", "--lora_r", "4", "--mm_projector_lr", "2e-5")
    given = flags(tmp_path, *more, data=write_data(tmp_path), model=SHAPES)
    given[given.index("--vision_tower") + 1] = json.loads((SHAPES / "config.json").read_text())["mm_vision_tower"]
    trainer = train(given).trainer
    if bits == "4":  # started again from its first step, it ends the same
        shutil.rmtree(tmp_path / "out/checkpoint-2")
        again = train(given).trainer
        trained = {name: p for name, p in trainer.model.named_parameters() if p.requires_grad}
        assert len(trained) > 20
        assert all(torch.equal(p, again.model.get_parameter(name)) for name, p in trained.items())
    layer = trainer.llava.get_model().layers[0].self_attn.q_proj.base_layer
    assert layer.weight.dtype in (torch.uint8, torch.int8)
    assert trainer.llava.get_model().mm_projector[0].weight.dtype == torch.float32
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(0 < loss < 20 for loss in losses)
    _, model, _, _ = load_pretrained_model(
        str(tmp_path / "out"), str(SHAPES), "llava-lora", device="cpu", torch_dtype=torch.float32
    )
    projector = trainer.llava.get_model().mm_projector[0].weight
    assert torch.equal(model.get_model().mm_projector[0].weight, projector)
