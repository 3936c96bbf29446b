"""transformers' CLIP as vLLM arranges it: one projection for queries, keys and values, results with their bias."""

from types import SimpleNamespace
from typing import Any

import torch


def _with_bias(projection: Any) -> Any:
    return lambda states: (projection(states), None)


class FusedClipLayer:
    """A layer of transformers', run as it is and asked as vLLM's."""

    def __init__(self, layer: Any) -> None:
        own = layer.self_attn
        parts = (own.q_proj, own.k_proj, own.v_proj)
        self._layer, self.layer_norm1, self.layer_norm2, self.mlp = (
            layer,
            layer.layer_norm1,
            layer.layer_norm2,
            layer.mlp,
        )
        self.self_attn = SimpleNamespace(
            head_dim=own.head_dim,
            scale=own.scale,
            qkv_proj=lambda states: (torch.cat([part(states) for part in parts], dim=-1), None),
            out_proj=_with_bias(own.out_proj),
        )

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._layer(hidden, attention_mask=None)


def fused(clip: Any, layers: int) -> SimpleNamespace:
    """The first layers of transformers' CLIP."""
    own = [FusedClipLayer(layer) for layer in clip.encoder.layers[:layers]]
    return SimpleNamespace(
        embeddings=clip.embeddings, pre_layrnorm=clip.pre_layrnorm, encoder=SimpleNamespace(layers=own)
    )
