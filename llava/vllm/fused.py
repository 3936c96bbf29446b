"""A CLIP layer of vLLM's under the names that evidence asks by.

vLLM has one projection for queries, keys and values, and under tensor parallelism each process has some heads of it.
Nothing here imports vLLM.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

QUERIES, KEYS, VALUES = range(3)


@dataclass(frozen=True)
class Ranks:
    """The processes that share a layer.

    Attributes:
        size: how many; rank: which of them this one is, from 0.
        gather: (..., d) of this process -> (..., d * size), all processes' side by side.
    """

    size: int = 1
    rank: int = 0
    gather: Callable[[torch.Tensor], torch.Tensor] = lambda own: own


class Part:
    """Queries, keys or values of all heads out of a fused projection.

    Args:
        attention: vLLM's, whose `qkv_proj` returns (..., 3 * d) and its bias.
        weight: any of the layer's that is not quantised; says the dtype to compute in.
    """

    def __init__(self, attention: Any, number: int, weight: torch.Tensor, ranks: Ranks) -> None:
        self._fused, self._number, self.weight, self._ranks = attention.qkv_proj, number, weight, ranks

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D)."""
        own = self._fused(states)[0].chunk(3, dim=-1)[self._number]
        return self._ranks.gather(own.contiguous()) if self._ranks.size > 1 else own


class Out:
    """The projection after attention, of which each process has the rows of its own heads."""

    def __init__(self, attention: Any, weight: torch.Tensor, ranks: Ranks) -> None:
        self._split, self.weight, self._ranks = attention.out_proj, weight, ranks

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D)."""
        return self._split(states.chunk(self._ranks.size, dim=-1)[self._ranks.rank].contiguous())[0]


class FusedAttention:
    """`self_attn` of a `FusedLayer`."""

    def __init__(self, attention: Any, weight: torch.Tensor, ranks: Ranks) -> None:
        self.head_dim, self.scale = attention.head_dim, attention.scale
        self.q_proj, self.k_proj, self.v_proj = (
            Part(attention, number, weight, ranks) for number in (QUERIES, KEYS, VALUES)
        )
        self.out_proj = Out(attention, weight, ranks)


class FusedLayer:
    """A layer that can be run and asked as transformers' CLIPEncoderLayer."""

    def __init__(self, layer: Any, ranks: Ranks) -> None:
        self._layer = layer
        self.layer_norm1, self.layer_norm2, self.mlp = layer.layer_norm1, layer.layer_norm2, layer.mlp
        self.self_attn = FusedAttention(layer.self_attn, layer.layer_norm1.weight, ranks)

    def __call__(self, hidden: torch.Tensor, attention_mask: None = None) -> torch.Tensor:
        """(V, T, D) -> (V, T, D)."""
        return self._layer(hidden)
