"""Take tokens that the question wants and that differ from each other: a determinantal point process (CDPruner).

CDPruner, arXiv 2506.10967 (NeurIPS 2025); released as Theia-4869/CDPruner. The kernel is the cosine of two projected
tokens times the relevance of both. The most probable set of it is approached one by one, by a Cholesky decomposition
that grows a column a step.
"""

import torch

from llava.reduction.rules.basics import choice, cosines, cut, unit
from llava.reduction.sent import sent

EXHAUSTED = 1e-5  # of the largest diagonal entry: rounding leaves up to 2e-6 of it where there is nothing


@choice
def question_relevance(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    valid: torch.Tensor,
    text_valid: torch.Tensor,
    groups: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """How little CLIP finds a patch like the question, from 0 to 1: low similarity is what the method calls relevant.

    Args:
        image_embeds: (I, n, d), the patches through CLIP's last norm and visual projection.
        text_embeds: (I, s, d), the question through CLIP's text tower, in pieces of 77 tokens.
        text_valid: (I, s) bool, where there is a piece.
        groups: how many rows, one after the other, share their least and most (the views of one image), as released;
            None: each row has its own.

    Returns:
        (I, n) float32.
    """
    likeness = unit(image_embeds) @ unit(text_embeds).transpose(1, 2)
    pieces = text_valid.sum(dim=1, keepdim=True)
    relevance = -likeness.masked_fill(~text_valid[:, None], 0).sum(dim=-1) / pieces
    least = relevance.masked_fill(~valid, torch.inf).amin(dim=1)
    most = relevance.masked_fill(~valid, -torch.inf).amax(dim=1)
    if groups is not None:
        counts = sent(groups, valid.device)
        group = torch.arange(len(groups), device=valid.device).repeat_interleave(counts, output_size=len(valid))
        least = least.new_full((len(groups),), torch.inf).scatter_reduce(0, group, least, "amin")[group]
        most = most.new_full((len(groups),), -torch.inf).scatter_reduce(0, group, most, "amax")[group]
    least, most = least[:, None], most[:, None]
    spread = (most - least).clamp(min=torch.finfo(least.dtype).tiny)
    return (relevance - least + 1e-6) / spread


@choice
def dpp_order(
    projected: torch.Tensor,
    relevance: torch.Tensor,
    counts: tuple[int, ...],
    valid: torch.Tensor,
    published: bool = False,
) -> torch.Tensor:
    """Greedy choice of `counts[i]` tokens by what each adds to the determinant, over all images at once.

    A loop over max(counts) steps is inherent; step t costs n * t products.

    Args:
        projected: (I, n, D), the tokens as the LLM gets them.
        relevance: (I, n) float32.
        published: go on where the kernel's rank (at most D) is used up, which takes roots of negative rounding errors
            and ends in numbers that are none. Mended: from there on the most relevant of the others follow.

    Returns:
        (I, max(counts)) order; ties go to the earlier token.
    """
    images, length, steps = *relevance.shape, max(counts)
    kernel = relevance[:, :, None] * cosines(projected, valid) * relevance[:, None]
    gain = kernel.diagonal(dim1=1, dim2=2).clone()
    own, nothing = gain.masked_fill(~valid, -torch.inf), ~valid
    limit = EXHAUSTED * own.amax(dim=-1, keepdim=True)
    columns = kernel.new_zeros(images, steps, length)
    order = []
    for step in range(steps):
        race = gain.masked_fill(nothing, -torch.inf)
        best = race.argmax(dim=-1, keepdim=True)
        added = race.gather(1, best)
        if not published:
            left = added > limit
            best = torch.where(left, best, own.masked_fill(nothing, -torch.inf).argmax(dim=-1, keepdim=True))
        row = kernel.take_along_dim(best[..., None], dim=1)
        before = columns[:, :step]
        explained = before.take_along_dim(best[:, None], dim=2).transpose(1, 2) @ before
        column = ((row - explained) / added.sqrt()[..., None])[:, 0]
        column = column if published else column.where(left, 0)
        columns[:, step] = column
        gain, nothing = gain - column**2, nothing.scatter(1, best, True)
        order.append(best)
    return cut(torch.cat(order, dim=1), counts, length)
