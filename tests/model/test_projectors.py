"""Projectors under LLaVA's names: the tensors they have and what they compute."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm

from llava.errors import InputError
from llava.model.multimodal_projector.builder import build_vision_projector


def built(kind: object, width: int = 6, wide: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return build_vision_projector(SimpleNamespace(mm_projector_type=kind, mm_hidden_size=width, hidden_size=wide))


@torch.no_grad()
def test_residual_blocks_after_linear_layers() -> None:
    projector = built("mlp2x_res2x_gelu")
    weights = projector.state_dict()
    parts = (
        "pre_norm.weight",
        "pre_norm.bias",
        *(f"proj.{part}.{kind}" for part in "02" for kind in ("weight", "bias")),
    )
    blocks = [f"{block}.{part}" for block in (3, 4) for part in parts]
    assert list(weights) == ["0.weight", "0.bias", "2.weight", "2.bias", *blocks]
    for weight in projector.parameters():
        weight.normal_()
    features = torch.randn(2, 3, 6)
    hidden = gelu(features @ weights["0.weight"].T + weights["0.bias"]) @ weights["2.weight"].T + weights["2.bias"]
    for block in "34":
        own = {name[2:]: weight for name, weight in weights.items() if name.startswith(f"{block}.")}
        hidden = layer_norm(hidden, (8,), own["pre_norm.weight"], own["pre_norm.bias"])
        inner = gelu(hidden @ own["proj.0.weight"].T + own["proj.0.bias"])
        hidden = hidden + inner @ own["proj.2.weight"].T + own["proj.2.bias"]
    torch.testing.assert_close(projector(features), hidden, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "layers"), [(None, 1), ("linear", 1), ("mlp1x_gelu", 1), ("mlp3x_gelu", 3), ("mlp1x_res3x_gelu", 7)]
)
def test_kinds(kind: str | None, layers: int) -> None:
    projector = built(kind)
    assert sum(isinstance(part, nn.Linear) for part in projector.modules()) == layers
    assert projector(torch.zeros(1, 2, 6)).shape == (1, 2, 8)


def test_identity() -> None:
    features = torch.randn(1, 2, 6)
    assert torch.equal(built("identity", 6, 6)(features), features)
    with pytest.raises(InputError, match="identity needs features as wide as the language model"):
        built("identity")


@pytest.mark.parametrize(
    "kind", ["pooler", "mlp0x_gelu", "mlp2x_res0x_gelu", "mlp2x_resx_gelu", "res2x_gelu", "qformer", 3]
)
def test_others_are_refused(kind: object) -> None:
    with pytest.raises(InputError, match="unknown mm_projector_type .*expected linear, identity, mlpNx_gelu such as"):
        built(kind)
