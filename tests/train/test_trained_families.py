"""Every family learns with its own template and form of pictures, and what is saved loads."""

from pathlib import Path

import pytest
import torch
from conftest import PARITY
from training_runs import flags, write_data

from llava.model.builder import load_pretrained_model
from llava.train.train import train

DROPS = ("--layer_list", "[1,2]", "--image_token_ratio_list", "[0.5,0.25]")
# Checkpoint, template, and what of it is trained; the rest comes from the checkpoint itself.
RUNS = {
    "mistral-next": ("mistral_instruct", ("--method", "visiondrop", "--retain", "64")),
    "next-qwen-clip": ("qwen_1_5", ("--lora_enable", "True", "--lora_r", "2", "--method", "pyramiddrop", *DROPS)),
    "llama3-next": ("llava_llama_3", ("--unfreeze_mm_vision_tower", "True", "--mm_vision_tower_lr", "2e-4")),
    "ov-qwen": ("qwen_1_5", ("--method", "visionzip", "--retain", "148")),
    "mpt": ("mpt", ("--tune_mm_mlp_adapter", "True")),
    "s2": ("v1", ("--method", "visionzip", "--retain", "64")),
}
DROPPED = ("--image_aspect_ratio", "--mm_vision_select_layer", "--mm_projector_type", "--mm_use_im_patch_token")


def own_flags(folder: Path, name: str) -> list[str]:
    """A run without what the checkpoint says itself."""
    template, more = RUNS[name]
    model = PARITY / "families" / name
    made = flags(folder, *more, "--version", template, data=write_data(folder), model=model)
    made[made.index("--vision_tower") + 1] = tower_of(name)
    for flag in DROPPED:
        at = made.index(flag)
        del made[at : at + 2]
    return made


def tower_of(name: str) -> str:
    """The folder of a checkpoint's tower."""
    import json

    model = PARITY / "families" / name
    return str(model / json.loads((model / "config.json").read_text())["mm_vision_tower"])


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.long
def test_a_family_learns_and_is_saved(name: str, tmp_path: Path) -> None:
    result = train(own_flags(tmp_path, name))
    losses = [entry["loss"] for entry in result.trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(0 < loss < 20 for loss in losses)
    assert result.trainer.silent_batches == 0
    base = None if result.trainer.mode == "full" else str(PARITY / "families" / name)
    kind = "llava-lora" if result.trainer.mode == "lora" else "llava"
    _, loaded, _, _ = load_pretrained_model(str(tmp_path / "out"), base, kind, device="cpu", torch_dtype=torch.float32)
    kept = {
        key: getattr(loaded.config, key, None) for key in ("image_aspect_ratio", "mm_patch_merge_type", "model_type")
    }
    original = result.trainer.llava.config
    assert kept == {key: getattr(original, key, None) for key in kept}
    held = result.trainer.model
    own = (held.merge_and_unload() if kind == "llava-lora" else held).state_dict()
    for key, tensor in loaded.state_dict().items():
        trained = own[key][: len(tensor)] if "embed_tokens" in key or "lm_head" in key else own[key]  # padding rows
        torch.testing.assert_close(tensor, trained, atol=1e-6, rtol=0, msg=lambda said, key=key: f"{key}: {said}")
