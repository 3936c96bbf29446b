"""From the vision encoder's width to the language model's."""

import re
from typing import Any

import torch
from torch import nn

from llava.errors import InputError, shown

_MLP = re.compile(r"mlp([1-9]\d?)x_(?:res([1-9]\d?)x_)?gelu")
KNOWN = "linear, identity, mlpNx_gelu such as mlp2x_gelu, or mlpNx_resNx_gelu such as mlp2x_res2x_gelu"


class ResidualBlock(nn.Module):
    """What `mlpNx_resNx_gelu` ends in: a norm, and two linear layers whose result is added to what the norm gave.

    Added to the norm's output, not to its input: that is LLaVA-NeXT's own form.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(width)
        self.proj = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(V, n, D) -> (V, n, D)."""
        normed = self.pre_norm(features)
        return normed + self.proj(normed)


def build_vision_projector(config: Any, delay_load: bool = False, **_: Any) -> nn.Module:
    """LLaVA's projectors by `mm_projector_type`.

    `linear`; `mlp{N}x_gelu`: N linear layers with exact GELU between them; `mlp{N}x_res{M}x_gelu`: then M
    `ResidualBlock`; `identity`. LLaVA-NeXT's `pooler` is refused: it makes one token of four patches, of which a
    method may have dropped some.

    Args:
        config: has `mm_hidden_size`, `hidden_size` and perhaps `mm_projector_type` (default `linear`).
        delay_load: LLaVA's argument, which it does not read either.
    """
    kind = getattr(config, "mm_projector_type", None) or "linear"
    if kind == "identity" and config.mm_hidden_size != config.hidden_size:
        raise InputError(
            f"mm_projector_type identity needs features as wide as the language model: got mm_hidden_size "
            f"{config.mm_hidden_size}, expected {config.hidden_size}; use another projector"
        )
    if kind == "identity":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(config.mm_hidden_size, config.hidden_size)
    match = _MLP.fullmatch(kind) if isinstance(kind, str) else None
    if match is None:
        raise InputError(f"unknown mm_projector_type {shown(kind)}: expected {KNOWN}; use another checkpoint")
    widths = [config.mm_hidden_size] + [config.hidden_size] * int(match[1])
    parts: list[nn.Module] = []
    for narrow, wide in zip(widths, widths[1:]):
        parts += [nn.Linear(narrow, wide), nn.GELU()]
    return nn.Sequential(*parts[:-1], *(ResidualBlock(config.hidden_size) for _ in range(int(match[2] or 0))))
