"""Keep what a middle encoder layer looks at, with its neighbours, and fill up by what a late one looks at (HiPrune).

HiPrune, arXiv 2508.00553 (AAAI 2026); released as Danielement321/HiPrune. What a patch receives is its attention as a
mean over heads and over all queries, [CLS] among them: of encoder layer 8 (counted from 0) and of the layer whose
output LLaVA uses.
"""

import torch

from llava.reduction.rules.basics import choice, ranked
from llava.reduction.selection import membership


@choice
def hiprune_kept(
    middle: torch.Tensor, late: torch.Tensor, count: int, side: int, alpha: float = 0.1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Anchors, their neighbours, and the best of the rest.

    Of the `count` tokens round(count * alpha / 5) are anchors. Neighbours are one number and one row up and down, as
    released: at the ends of a row they are in the next one, and beyond the picture they become its first or last patch.

    Args:
        middle, late: (I, n) float32, what each patch of a full grid receives, row by row; at most 1.
        side: patches in a row.

    Returns:
        (I, count) int64, ascending; and the anchors, (I, a) int64, by falling score.
    """
    length = middle.shape[1]
    anchors = ranked(middle)[:, : round(count * alpha / 5)]
    steps = torch.tensor([-1, 1, -side, side], device=middle.device)
    around = (anchors[..., None] + steps).clamp(0, length - 1).flatten(1)
    is_anchor, is_near = membership(anchors, length), membership(around, length)
    # Anchors first, then neighbours, then by the late layer: attention is a share, so two and one more are above all.
    best = ranked(late + 2 * is_anchor + (is_near & ~is_anchor))[:, :count]
    return best.sort(dim=-1).values, anchors
