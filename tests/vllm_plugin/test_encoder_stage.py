"""What vLLM's CLIP leaves of a picture is what this project's own tower and projector leave, under every method."""

from typing import Any

import pytest
import torch
from fused_tower import FusedClipLayer, fused
from tower_models import SIDE, model_with, noise

from llava.reduction import Geometry, available, method_class, resolve
from llava.vllm.eyes import Eyes
from llava.vllm.fused import FusedLayer, Part, Ranks
from llava.vllm.plan import InputError, check

BUDGET = 24
ENCODER_ONLY = {
    "none": {"method": "none"},
    "visiondrop": {"method": "visiondrop", "dominant": 20, "contextual": 4, "layer_list": [], "image_token_list": []},
}
DONE = ["divprune", "fastervlm", "hiprune", "holov", "none", "pool", "prunesid", "random", "scope", "tome"]
DONE += ["visiondrop", "visionzip", "vispruner"]


def encoder_method(name: str, geometry: Geometry) -> Any:
    """A method with a budget, VisionDrop with its stage in the encoder alone."""
    if method_class(name).reads_question:
        pytest.skip("reads the question")
    return resolve(ENCODER_ONLY.get(name, {"method": name, "retain": BUDGET}), geometry)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["clip", "cls_patch"])
@pytest.mark.parametrize("name", DONE)
def test_tokens_are_those_of_the_own_tower(kind: str, name: str) -> None:
    model = model_with(kind)
    tower, pixels = model.get_vision_tower(), noise(model, 3)
    method = encoder_method(name, model.geometry)
    eyes = Eyes(
        fused(tower.vision_tower, tower.layers_to_run),
        model.get_model().mm_projector,
        SIDE,
        kind == "cls_patch",
        Ranks(),
    )
    tokens = eyes.tokens(pixels, method)
    assert torch.equal(tokens, model.encode_images(pixels, reduction=method))
    assert tokens.shape[1] == method.tokens_per_stage(model.geometry)[0]


def test_each_method_is_done_or_refused() -> None:
    geometry, done = Geometry(8, SIDE**2, encoder_layers=4), []
    for name in available():
        try:
            check(
                encoder_method(name, geometry) if not method_class(name).reads_question else method_class(name)(),
                geometry,
                3,
            )
        except (InputError, TypeError):
            continue
        done.append(name)
    assert done == DONE


@torch.no_grad()
def test_heads_of_two_processes_are_put_side_by_side() -> None:
    model = model_with("clip")
    layer = FusedClipLayer(model.get_vision_tower().last_layer)
    states, whole = torch.randn(2, 5, 16), layer.self_attn.qkv_proj

    def of(rank: int) -> Any:
        """A process's own heads: half of the queries, of the keys, and of the values."""
        halves = lambda states: [part.chunk(2, dim=-1)[rank] for part in whole(states)[0].chunk(3, dim=-1)]  # noqa: E731
        return lambda states: (torch.cat(halves(states), dim=-1), None)

    alone = [FusedLayer(layer, Ranks()).self_attn.q_proj(states), FusedLayer(layer, Ranks()).self_attn.k_proj(states)]
    for rank in range(2):
        layer.self_attn.qkv_proj = of(rank)
        for number, expected in enumerate(alone):
            both = [of(each)(states)[0].chunk(3, dim=-1)[number] for each in range(2)]
            ranks = Ranks(2, rank, lambda own, both=both, rank=rank: _gathered(own, both, rank))
            part = Part(layer.self_attn, number, layer.layer_norm1.weight, ranks)
            assert torch.equal(part(states), expected)


def _gathered(own: torch.Tensor, both: list[torch.Tensor], rank: int) -> torch.Tensor:
    assert torch.equal(own, both[rank])
    return torch.cat(both, dim=-1)
