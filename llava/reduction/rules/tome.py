"""Merge the most similar pairs of one half of the tokens with the other half (ToMe, one step).

Token Merging, arXiv 2210.09461 (ICLR 2023); released as facebookresearch/ToMe, tome/merge.py. Done in every encoder
layer between attention and MLP; similarity is the cosine of the layer's keys, mean over heads.
"""

from dataclasses import dataclass

import torch

from llava.reduction.rules.basics import choice, unit


@dataclass(frozen=True)
class Match:
    """Which tokens of one half go where.

    Attributes:
        merged: (I, r) int64, numbers among the even tokens of those that go.
        unmerged: (I, e - r) int64, of those that stay, ascending ([CLS] is the first).
        into: (I, r) int64, numbers among the odd tokens, where each of `merged` goes.
    """

    merged: torch.Tensor
    unmerged: torch.Tensor
    into: torch.Tensor


@choice
def match_pairs(metric: torch.Tensor, count: int) -> Match:
    """Tokens at even places each find their most similar one at an odd place; the `count` closest pairs are merged.

    Args:
        metric: (I, t, d), keys of all tokens, [CLS] first, which is never merged.
        count: at most half of the tokens but [CLS].
    """
    directions = unit(metric)
    even, odd = directions[:, 0::2], directions[:, 1::2]
    closeness, nearest = (even @ odd.transpose(1, 2)).max(dim=-1)
    closeness[:, 0] = -torch.inf
    best = closeness.sort(dim=-1, descending=True, stable=True).indices
    merged, unmerged = best[:, :count], best[:, count:].sort(dim=-1).values
    return Match(merged, unmerged, nearest.gather(1, merged))


def merge_pairs(tokens: torch.Tensor, sizes: torch.Tensor, match: Match) -> tuple[torch.Tensor, torch.Tensor]:
    """Means weighted by how many patches a token already stands for.

    Args:
        tokens: (I, t, D); sizes: (I, t) float32, ones at first.

    Returns:
        (I, t - r, D), dtype of the tokens: even tokens that stayed, then all odd ones; and their sizes. The layer's
        attention adds the logarithm of the sizes to its logits.
    """
    weighted = tokens.float() * sizes[..., None]
    even, odd = weighted[:, 0::2], weighted[:, 1::2]
    goes = torch.nn.functional.one_hot(match.into, odd.shape[1]).float().transpose(1, 2)
    with torch.autocast(tokens.device.type, enabled=False):
        odd = odd + goes @ even.take_along_dim(match.merged[..., None], dim=1)
        odd_sizes = sizes[:, 1::2] + (goes @ sizes[:, 0::2].gather(1, match.merged)[..., None])[..., 0]
    sums = torch.cat([even.take_along_dim(match.unmerged[..., None], dim=1), odd], dim=1)
    total = torch.cat([sizes[:, 0::2].gather(1, match.unmerged), odd_sizes], dim=1)
    return (sums / total[..., None]).to(tokens.dtype), total
