"""From the vision encoder's width to the language model's."""

import re
from typing import Any

from torch import nn

from llava.errors import InputError, shown


def build_vision_projector(config: Any, delay_load: bool = False, **_: Any) -> nn.Module:
    """LLaVA's projectors by `mm_projector_type`: `linear`, `mlp{N}x_gelu` (N linear layers, exact GELU), `identity`.

    Args:
        config: has `mm_hidden_size`, `hidden_size` and perhaps `mm_projector_type` (default `linear`).
        delay_load: LLaVA's argument, which it does not read either.
    """
    kind = getattr(config, "mm_projector_type", None) or "linear"
    if kind == "identity":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(config.mm_hidden_size, config.hidden_size)
    match = re.fullmatch(r"mlp([1-9]\d?)x_gelu", kind)
    if match is None:
        raise InputError(
            f"unknown mm_projector_type {shown(kind)}: expected linear, identity or mlpNx_gelu such as mlp2x_gelu"
        )
    widths = [config.mm_hidden_size] + [config.hidden_size] * int(match[1])
    parts: list[nn.Module] = []
    for narrow, wide in zip(widths, widths[1:]):
        parts += [nn.Linear(narrow, wide), nn.GELU()]
    return nn.Sequential(*parts[:-1])
