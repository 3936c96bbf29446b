"""Keep patches whose attention stands out, and add to each what resembles it most (PruMerge, PruMerge+).

LLaVA-PruMerge, arXiv 2403.15388 (ICCV 2025); released as 42Shawn/LLaVA-PruMerge, multimodal_encoder/clip_encoder.py.
Attention and keys are of the encoder's last layer, taken as one head of full width; the tokens are those LLaVA uses, of
the layer before. "+" adds patches at even steps. How many are kept depends on the picture.
"""

import torch

from llava.errors import InputError
from llava.reduction.rules.basics import choice, cut, unit
from llava.reduction.rules.outliers import count_outliers
from llava.reduction.selection import membership
from llava.reduction.sent import sent

NEIGHBOURS = 32


@choice
def prumerge_scores(cls_query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """What [CLS] gives to each patch, of one head of full width; the softmax includes [CLS].

    (I, D) and (I, 1 + n, D), unscaled projections with their bias -> (I, n) float32.
    """
    logits = (keys.float() @ cls_query.float()[..., None])[..., 0] / keys.shape[-1] ** 0.5
    return logits.softmax(dim=-1)[:, 1:]


@choice
def prumerge_order(
    scores: torch.Tensor,
    share: float | None = None,
    plus: bool = False,
    published: bool = False,
    groups: tuple[int, ...] | None = None,
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The best patches by falling score; with `plus` then every step-th patch that is not among them, ascending.

    The step is a third of one over the share of best patches, so that about three times as many are added. The counts
    depend on the pictures and are read from the device, for all images together.

    Args:
        scores: (I, n) float32.
        share: keep int(n * share); None: as many as are outliers of an image's scores.
        published: one share for all rows handed over, counted over all their scores, and none kept of pictures without
            outliers. Mended: each row has its own, keeps one patch at least, and steps are at least one.
        groups: as published, how many rows, one after the other, share each such count; None: all.

    Returns:
        (I, max(counts)) order; and the counts.

    Raises:
        InputError: as published with `plus`, for a share of none or above a third, where the released code fails.
    """
    images, length = scores.shape
    if share is not None:
        shares = [share] * images
    elif published:
        parts = scores.split(list(groups or [images]))
        found = torch.cat([count_outliers(part.reshape(1, -1)) for part in parts]).tolist()
        shares = [count / part.numel() for count, part in zip(found, parts) for _ in part]
    else:
        shares = [max(1, found) / length for found in count_outliers(scores).tolist()]
    best = tuple(int(length * part) for part in shares)
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    if not plus:
        return cut(order, best, length), best

    steps = sent([_step(part, published) for part in shares], scores.device)[:, None]
    place = torch.arange(length, device=scores.device)
    rank = torch.empty_like(order).scatter(1, order, place.expand_as(order))
    is_best = rank < sent(best, scores.device)[:, None]
    # The last patch is never a step: the released code's range ends before it.
    even = (place % steps == 0) & (place < length - 1) & ~is_best
    key = torch.where(is_best, rank, torch.where(even, length + place, 2 * length))
    counts = tuple((is_best | even).sum(dim=-1).tolist())
    return cut(key.sort(dim=-1, stable=True).indices, counts, length), counts


def _step(share: float, published: bool) -> int:
    """Every how many patches one is added."""
    if published and not 0 < share <= 1 / 3:
        raise InputError(
            f"prumerge+ as published needs outliers, a third of the patches at most: got a share of {share:g}, where "
            f"the released code fails; leave published out"
        )
    return max(1, int(int(1 / share) / 3)) if share else 1


def merge_neighbours(
    values: torch.Tensor, scores: torch.Tensor, keys: torch.Tensor, order: torch.Tensor, counts: tuple[int, ...]
) -> torch.Tensor:
    """Add to each kept patch the 32 others of most similar key, and append one token of all that are not kept.

    All are weighted with their attention, and the weights are not divided by their sum (the paper's equation does).

    Args:
        values: (I, n, D), the patches LLaVA uses; scores: (I, n) float32; keys: (I, n, d), of the patches.
        order: (I, k) int64, filled up with n; counts: how many of a row are real.

    Returns:
        (I, k + 1, D), dtype of the values: in the order given, the token of the others at number `counts[i]`, zeros
        behind it.
    """
    images, length = scores.shape
    at = order.clamp(max=length - 1)
    with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
        directions = unit(keys)
        likeness = directions.take_along_dim(at[..., None], dim=1) @ directions.transpose(1, 2)
        likeness = likeness.scatter(2, at[..., None], -torch.inf)
        nearest = likeness.topk(min(NEIGHBOURS, length - 1), dim=-1).indices
        shares = torch.zeros_like(likeness).scatter(2, nearest, 1.0) * scores[:, None]
        shares = shares.scatter(2, at[..., None], 1.0)  # its own place was not among the neighbours
        number = torch.arange(order.shape[1] + 1, device=order.device)
        real = sent(counts, order.device)[:, None]
        rest = scores.masked_fill(membership(order, length), 0)[:, None]
        shares = torch.cat([shares, torch.zeros_like(rest)], dim=1) * (number < real)[..., None]
        shares = torch.where((number == real)[..., None], rest, shares)
    with torch.autocast(values.device.type, enabled=False):
        return (shares @ values.float()).to(values.dtype)
