"""The two moves that methods are made of: keep the best and drop the others, or keep the best and merge the others."""

import torch

from llava.reduction.base import Evidence
from llava.reduction.merging import merge_rest
from llava.reduction.scoring import mean_received, summed_over_heads
from llava.reduction.selection import Selection, membership, select_top


def keep_top(evidence: Evidence, scores: torch.Tensor, counts: tuple[int, ...]) -> Selection:
    """Keep the `counts[i]` best of image i, drop the others. `scores`: (I, n) float32."""
    ranked = scores.masked_fill(~evidence.valid, -torch.inf)
    return Selection(select_top(ranked, counts), counts, ranked)


def at_most(evidence: Evidence, count: int) -> tuple[int, ...]:
    """`count` of each image, or all that it has."""
    return tuple(min(count, length) for length in evidence.lengths)


def patch_scores(evidence: Evidence) -> torch.Tensor:
    """(I, n) float32: what [CLS] gives to each patch, or what it receives where there is no [CLS]; mean over heads."""
    return mean_received(evidence.attention_from_cls()) if evidence.has_cls else received(evidence)


def row_width(evidence: Evidence) -> int:
    """Patches in a row of a view: of a square where the evidence says nothing else."""
    return getattr(evidence, "width", None) or round(evidence.lengths[0] ** 0.5)


def received(evidence: Evidence) -> torch.Tensor:
    """(I, n) float32: what each patch receives from all patches of its view; mean over heads and queries.

    An encoder adds it up view by view (`attention_received`): the whole matrices of a batch would fill the memory.
    """
    added_up = getattr(evidence, "attention_received", None)
    return mean_received(evidence.attention_from_image()) if added_up is None else added_up()


def own_counts(evidence: Evidence, count: int) -> tuple[int, ...]:
    """What a schedule's count for the largest image means for each image: `count` times its share, at least 1.

    An image's share is its tokens on entering the LLM against those of the largest image: of LLaVA-NeXT's views and the
    most there may be. Halves are rounded up, in whole numbers, so that no floating point decides.
    """
    sizes = zip(evidence.initial_lengths, evidence.largest_lengths)
    return tuple(max(1, (2 * count * own + largest) // (2 * largest)) for own, largest in sizes)


def own_pairs(evidence: Evidence, dominant: int, contextual: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`own_counts` of a [dominant, contextual] pair: of the whole pair, and of the contextual tokens in it.

    The rest is dominant, 1 at least: where the whole is a single token, none is contextual. An image of no more tokens
    than that keeps them as they are.
    """
    totals = own_counts(evidence, dominant + contextual)
    folded = own_counts(evidence, contextual) if contextual else (0,) * len(totals)
    small = [length <= total for length, total in zip(evidence.lengths, totals)]
    totals = tuple(min(total, length) for total, length in zip(totals, evidence.lengths))
    folded = tuple(0 if whole else min(own, total - 1) for own, total, whole in zip(folded, totals, small))
    return tuple(total - own for own, total in zip(folded, totals)), folded


def keep_and_merge(
    evidence: Evidence, scores: torch.Tensor, dominant: int | tuple[int, ...], contextual: int | tuple[int, ...]
) -> Selection:
    """Keep the `dominant` best, fold the others into `contextual` tokens; numbers for all images or for each.

    An image that has fewer than dominant + contextual tokens (a small LLaVA-NeXT image) is kept whole.
    """
    images = len(evidence.lengths)
    best = (dominant,) * images if isinstance(dominant, int) else dominant
    folded = (contextual,) * images if isinstance(contextual, int) else contextual
    whole = [length < one + other for length, one, other in zip(evidence.lengths, best, folded)]
    counts = tuple(length if small else count for length, small, count in zip(evidence.lengths, whole, best))
    top = keep_top(evidence, scores, counts)
    if not any(folded):
        return top
    rest = evidence.valid & ~membership(top.kept, evidence.valid.shape[1])
    left = tuple(length - count for length, count in zip(evidence.lengths, counts))
    merged = merge_rest(evidence.values, evidence.keys(), rest, left, folded)
    return Selection(top.kept, counts, top.scores, merged)


def encoder_stage(evidence: Evidence, dominant: int, contextual: int) -> Selection:
    """Stage 0 of VisionDrop and all of VisionZip: [CLS] counts as one of the `dominant` tokens.

    Without a [CLS] (SigLIP), patches are ranked by the attention they receive and all `dominant` are patches.
    """
    if not evidence.has_cls:
        return keep_and_merge(evidence, received(evidence), dominant, contextual)
    picked = keep_and_merge(evidence, summed_over_heads(evidence.attention_from_cls()), dominant - 1, contextual)
    return Selection(picked.kept, picked.kept_counts, picked.scores, picked.merged, keeps_cls=True)


def order_scores(order: torch.Tensor, counts: tuple[int, ...], valid: torch.Tensor) -> torch.Tensor:
    """A score for choices made one by one: 1 for the first of a row, falling evenly; 0 for what was not chosen.

    Args:
        order: (I, k) int64, filled up with n; valid: (I, n) bool.

    Returns:
        (I, n) float32, -inf where there is no token.
    """
    widest = order.shape[1]
    falling = 1 - torch.arange(widest, device=order.device) / max(1, widest)
    scores = torch.zeros(len(order), valid.shape[1] + 1, device=order.device)
    return scores.scatter(1, order, falling.expand_as(order))[:, :-1].masked_fill(~valid, -torch.inf)


def image_scores(evidence: Evidence) -> torch.Tensor:
    """(I, n) float32: what each image token receives from the tokens of its own image (VisionDrop)."""
    return mean_received(evidence.attention_from_image(), evidence.valid.sum(dim=1, keepdim=True))
