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


def pairs_per_layer(tokens: int, wanted: int, layers: int) -> tuple[int, ...]:
    """How many pairs each layer merges so that `wanted` of `tokens` patches are left after the last.

    The smallest number for all layers that comes to it, and less where fewer are missing. A layer merges half of its
    tokens at most; where even that is not enough, the plan falls short of it.
    """
    plan: tuple[int, ...] = ()
    for pairs in range(max(1, -(-(tokens - wanted) // layers)), tokens):
        left, steps = tokens, []
        for _ in range(layers):
            steps.append(min(pairs, left // 2, left - wanted))
            left -= steps[-1]
        plan = tuple(steps)
        if left == wanted:
            break
    return plan or (0,) * layers


def follow(into: torch.Tensor, match: Match, tokens: int) -> torch.Tensor:
    """Where patches are after a merge: (I, n) int64 places among `tokens`, [CLS] at 0 -> places among those left."""
    stays = match.unmerged.shape[1]
    place = torch.arange(tokens, device=into.device).expand(len(into), -1)
    moved = torch.empty_like(place)
    moved[:, 1::2] = stays + place[:, 1::2] // 2
    even = torch.empty_like(place[:, 0::2])
    even.scatter_(1, match.unmerged, torch.arange(stays, device=into.device).expand_as(match.unmerged))
    even.scatter_(1, match.merged, stays + match.into)
    moved[:, 0::2] = even
    return moved.gather(1, into)


def first_members(into: torch.Tensor, count: int) -> torch.Tensor:
    """(I, n) int64 tokens that patches went into, every one of `count` -> (I, count), the first patch of each."""
    place = torch.arange(into.shape[1], device=into.device).expand_as(into)
    first = torch.full((len(into), count), into.shape[1], device=into.device)
    return first.scatter_reduce(1, into, place, "amin")
