"""The attention kernel `shared_prefix`: rows that read one prefix, joined with their own tokens; else it is sdpa.

Softmax over two sets of keys is softmax over each, weighed by the sums that it divides by. Over keys that all rows
share it is one product of matrices where copies of them would take a product of a vector for every row.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llava.model.cache.shared_prefix import SharedPrefix

SHARED_PREFIX = "shared_prefix"
SCORES_AT_ONCE = 2**24  # float32 numbers that a layer holds of its queries against the prefix: 64 MiB
Pair = tuple[torch.Tensor, torch.Tensor]


def shared_prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    shared_prefix: SharedPrefix | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What transformers' layers call; the kernel `sdpa` where no prefix comes with the call.

    Args:
        query: (B, H, q, d).
        key, value: (B, G, t, d), the rows' own tokens; H is a multiple of G.
        attention_mask: (B, 1, q, t) bool, True where a token may look; None: causal.

    Returns:
        (B, q, H, d) and no weights.
    """
    if shared_prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    if attention_mask is None and query.shape[2] > 1:
        width = key.shape[2]
        causal = torch.ones(query.shape[2], width, dtype=torch.bool, device=query.device)
        attention_mask = causal.tril(width - query.shape[2])[None, None]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    prefix = shared_prefix.pair(module.layer_idx)
    seen = attend_both(query * scale, prefix, (key, value), attention_mask)
    return seen.transpose(1, 2).contiguous(), None


def attend_both(query: torch.Tensor, prefix: Pair, own: Pair, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention (B, H, q, d) of scaled queries over a prefix of all rows (G, p, d) and each row's own (B, G, t, d).

    Args:
        mask: (1 or B, 1, q, t) bool, which own tokens may be looked at; None: all. The prefix is seen whole.
    """
    heads = own[0].shape[1]
    grouped = query.unflatten(1, (heads, -1))  # (B, G, n, q, d)
    seen, sums = _over_prefix(grouped, prefix)
    own_seen, own_sums = _over_own(grouped, own, mask)
    weight = torch.sigmoid(sums - own_sums)  # of the two parts' sums, the prefix's share
    return (weight * seen + (1 - weight) * own_seen).to(query.dtype).flatten(1, 2)


def _over_prefix(grouped: torch.Tensor, prefix: Pair) -> Pair:
    rows, heads, *rest, width = grouped.shape
    flat = grouped.transpose(0, 1).reshape(heads, -1, width)
    most = max(1, SCORES_AT_ONCE // max(1, heads * prefix[0].shape[1]))
    pieces = [_attend(part, prefix) for part in flat.split(most, dim=1)]
    seen, sums = (torch.cat(part, dim=1).view(heads, rows, *rest, -1).transpose(0, 1) for part in zip(*pieces))
    return seen, sums


def _over_own(grouped: torch.Tensor, own: Pair, mask: torch.Tensor | None) -> Pair:
    queries = grouped.shape[2:4]
    if mask is not None:
        mask = mask[:, :, None].expand(-1, -1, queries[0], -1, -1).flatten(2, 3)
    seen, sums = (part.unflatten(2, queries) for part in _attend(grouped.flatten(2, 3), own, mask))
    return seen, sums


def _attend(query: torch.Tensor, pair: Pair, mask: torch.Tensor | None = None) -> Pair:
    """(..., m, d) over (..., t, d) -> what is seen (..., m, d), and the logarithm of softmax's sum (..., m, 1)."""
    keys, values = pair
    scores = query @ keys.transpose(-1, -2)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:  # the lowest number, not minus infinity: a row's padding looks at nothing of its own
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    sums = scores.logsumexp(dim=-1, keepdim=True)
    return (scores - sums).exp().to(values.dtype) @ values, sums


AttentionInterface.register(SHARED_PREFIX, shared_prefix_attention)
AttentionMaskInterface.register(SHARED_PREFIX, sdpa_mask)
