"""Contextual tokens: what is not kept is folded into a few targets spread evenly over the rest (VisionZip)."""

from dataclasses import dataclass

import torch

from llava.reduction.precision import without_autocast
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Merged:
    """Contextual tokens of I images, `contextual` slots each.

    Attributes:
        values: (I, contextual, D), the new tokens, dtype of the tokens they come from; anything in an empty slot.
        targets: (I, contextual) int64, the token each slot is built on; n (the padded length) in an empty slot, or in
            one that is built on none of them.
        assignment: (I, n) int64, the slot a token went into; a target is in its own slot; -1 for tokens that were kept
            and for positions without a token.
        counts: how many slots of each image are real, the first ones: none where the image was kept whole.
    """

    values: torch.Tensor
    targets: torch.Tensor
    assignment: torch.Tensor
    counts: tuple[int, ...]


def merge_rest(
    values: torch.Tensor,
    keys: torch.Tensor,
    rest: torch.Tensor,
    rest_counts: tuple[int, ...],
    contextual: int | tuple[int, ...],
) -> Merged:
    """Fold the tokens marked in `rest` into `contextual` tokens per image.

    Of the M tokens left, in order, the targets are numbers 0, s, 2s, ... with s = max(1, M // contextual). Every other
    one joins the target whose key is most similar (cosine; the first on a tie). A contextual token is its target
    *plus* the mean of those that joined; a target that nobody joined stays as it is.

    Args:
        values: (I, n, D), the tokens themselves.
        keys: (I, n, d), what similarity is measured on: the mean over heads of the layer's keys.
        rest: (I, n) bool, the tokens that were not kept.
        rest_counts: number of True values per row: M of each image. An image with M = 0 gets no contextual token.
        contextual: slots per image, or of each image; at most its M where that is above 0. An image of no slots loses
            what is not kept.
    """
    length, widest = values.shape[1], max(rest_counts)
    wanted = (contextual,) * len(rest_counts) if isinstance(contextual, int) else contextual
    counts = tuple(slots if m else 0 for slots, m in zip(wanted, rest_counts, strict=True))
    most = max(1, *wanted)
    position = torch.arange(length, device=values.device)
    # The left-over tokens of every image, in order, at the front; `length` beyond them.
    order = position.where(rest, length).sort(dim=-1).values[:, : max(widest, 1)]
    steps = sent([max(1, m // max(1, own)) for m, own in zip(rest_counts, counts)], values.device)
    slots = torch.arange(most, device=values.device)
    targets = order.gather(1, (slots * steps[:, None]).clamp(max=order.shape[1] - 1))
    empty = slots >= sent(counts, values.device)[:, None]
    targets = targets.masked_fill(empty, length)

    safe_targets = targets.clamp(max=length - 1)[..., None]
    nearest = _most_similar(keys, safe_targets, empty if min(counts) < most else None)
    is_target = torch.zeros_like(position, dtype=torch.bool).expand_as(rest)
    is_target = torch.nn.functional.pad(is_target, (0, 1)).scatter(1, targets, True)[:, :length]
    joins = rest & ~is_target if min(counts) else rest & ~is_target & ~empty[:, :1]

    share = torch.nn.functional.one_hot(nearest, most).float() * joins[..., None]
    with without_autocast(values.device):
        mean = share.transpose(1, 2) @ values.float() / share.sum(dim=1).clamp(min=1)[..., None]
    built = values.take_along_dim(safe_targets, dim=1) + mean.to(values.dtype)

    own_slot = torch.full((len(rest), length + 1), -1, device=values.device)
    own_slot = own_slot.scatter(1, targets, slots.expand_as(targets))
    assignment = torch.where(joins, nearest, own_slot[:, :length])
    return Merged(built, targets, assignment, counts)


def _most_similar(keys: torch.Tensor, targets: torch.Tensor, empty: torch.Tensor | None) -> torch.Tensor:
    """(I, n) int64: for each token the number of the target, of (I, contextual, 1) tokens, whose key is nearest.

    A choice, through which no gradient passes. `empty`: (I, contextual) bool, slots that are no target; None: all are.
    """
    with torch.no_grad(), without_autocast(keys.device):
        unit = torch.nn.functional.normalize(keys.float(), dim=-1)
        similar = unit @ unit.take_along_dim(targets, dim=1).transpose(1, 2)
        return (similar if empty is None else similar.masked_fill(empty[:, None], -torch.inf)).argmax(dim=-1)


def summary(values: torch.Tensor, kept: torch.Tensor, length: int) -> Merged:
    """One token of each image that stands for all that were not kept (PruMerge, TRIM).

    Args:
        values: (I, 1, D), the tokens; kept: (I, k) int64, filled up with `length`, an image's tokens.
    """
    assignment = torch.zeros(len(kept), length + 1, dtype=torch.long, device=kept.device).scatter(1, kept, -1)
    targets = torch.full((len(kept), 1), length, device=kept.device)
    return Merged(values, targets, assignment[:, :length], (1,) * len(kept))
