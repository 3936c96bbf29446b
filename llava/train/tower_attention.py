"""Attention of a frozen tower on a CPU in the order of transformers 4.37, on which LLaVA trained."""

from typing import Any

import torch
from transformers import AttentionInterface

SCALED_QUERY = "scaled_query"


def scaled_query_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers' layers call; as their `eager`, but the query is scaled and not its product with the keys.

    The two differ by rounding alone, and not at all where a head has 4, 16, 64 or 256 numbers.

    Args:
        query, key, value: (B, H, N, d).
        attention_mask: added to the scores; None: every patch sees all.

    Returns:
        (B, N, H, d) and the weights (B, H, N, N), in the query's dtype; softmax is in float32.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query * scale) @ key.transpose(-1, -2)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(SCALED_QUERY, scaled_query_attention)


def written_out(tower: Any) -> None:
    """Let a tower compute its attention step by step, in the order in which its class did in transformers 4.37.

    It is as fast on a CPU as torch's fused kernel, and what was recorded there comes out bit for bit where matrix
    products add up as they did on the recording machine.
    """
    encoder = tower.vision_tower
    encoder.set_attn_implementation(SCALED_QUERY if encoder.config.model_type == "clip_vision_model" else "eager")
