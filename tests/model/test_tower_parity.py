"""What LLaVA's and LLaVA-NeXT's own towers compute: several scales, SigLIP, and weights inside a checkpoint."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import PARITY, Load
from safetensors.torch import load_file
from torch import nn

from llava.anyres import process_anyres_image
from llava.mm_utils import open_image, process_images
from llava.model.checkpoint.folder import Folder
from llava.model.loading.state import read_state
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_projector.builder import build_vision_projector
from llava.model.trace import Trace

FAMILIES = PARITY / "families"
TOWER = "model.vision_tower.vision_tower."
NEAR = {"atol": 1e-4, "rtol": 0.0}
GREEDY = {"do_sample": False, "eos_token_id": None, "output_logits": True, "return_dict_in_generate": True}


@pytest.mark.parametrize(("name", "picture"), [("s2", "0.png"), ("s2-portrait", "1.png")])
def test_three_scales(load: Load, name: str, picture: str) -> None:
    loaded, wanted, trace = load("families/s2"), load_file(FAMILIES / f"{name}.safetensors"), Trace()
    pixels = process_images([open_image(PARITY / "images" / picture)], loaded.processor, loaded.model.config)
    assert torch.equal(pixels[0][..., 5::16, 5::16], wanted["pixel_sample.0"])
    count = len(wanted["generated_ids"])
    got = loaded.model.generate(wanted["input_ids"][None], images=pixels, trace=trace, max_new_tokens=count, **GREEDY)
    assert trace.inputs_embeds is not None
    torch.testing.assert_close(trace.inputs_embeds[0], wanted["inputs_embeds"], **NEAR)
    torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
    assert torch.equal(got.sequences[0], wanted["generated_ids"])


def eyes(checkpoint: str) -> tuple[Any, nn.Module, SimpleNamespace]:
    """Tower, projector and configuration of a checkpoint whose tower's weights lie inside it; others lie beside."""
    folder = FAMILIES / checkpoint
    keys = json.loads((folder / "config.json").read_text())
    config = SimpleNamespace(**keys | {"name_or_path": str(folder)})
    tower, projector = build_vision_tower(config), build_vision_projector(config)
    state = read_state(Folder(str(folder)), {}, tower.source)
    inside = {name.removeprefix(TOWER): tensor[...] for name, tensor in state.items() if name.startswith(TOWER)}
    assert not torch.equal(tower.state_dict()["vision_tower.post_layernorm.weight"], inside["post_layernorm.weight"])
    tower.vision_tower.load_state_dict(inside)
    own = {name: tensor[...] for name, tensor in state.items() if "mm_projector." in name}
    projector.load_state_dict({name.split("mm_projector.")[1]: tensor for name, tensor in own.items()})
    return tower.eval(), projector, config


@torch.no_grad()
@pytest.mark.parametrize(
    ("checkpoint", "name", "picture"),
    [("ov-qwen", "ov-small", "families/images/small.png"), ("next-qwen-clip", "next-qwen-clip", "images/3.png")],
)
def test_weights_inside_count_and_base_views_are_the_recorded_ones(checkpoint: str, name: str, picture: str) -> None:
    tower, projector, config = eyes(checkpoint)
    wanted = load_file(FAMILIES / f"{name}.safetensors")
    views = process_anyres_image(open_image(PARITY / picture), tower.image_processor, config.image_grid_pinpoints)
    assert torch.equal(views[..., 5::16, 5::16], wanted["pixel_sample.0"])
    [[image]] = (wanted["input_ids"] == -200).nonzero().tolist()
    base = wanted["inputs_embeds"][image : image + tower.num_patches]
    torch.testing.assert_close(projector(tower(views[:1]))[0], base, **NEAR)
