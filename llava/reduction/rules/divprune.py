"""Take, one by one, the token that is farthest from all that were taken (DivPrune).

DivPrune, arXiv 2503.02175 (CVPR 2025); released as vbdi/divprune. The tokens are those after the projector, the
distance is 1 - cosine. The first is the one whose nearest other token is farthest. In LLaVA-NeXT all views and newlines
of an image are one pool.
"""

import torch

from llava.reduction.rules.basics import choice, cosines, cut


@choice
def farthest_first(
    tokens: torch.Tensor, counts: tuple[int, ...], valid: torch.Tensor, published: bool = False
) -> torch.Tensor:
    """An order of `counts[i]` tokens, over all images at once; float32, where float16 would make ties.

    A loop over max(counts) steps is inherent; a step reads one row of the distances of each image.

    Args:
        tokens: (I, n, D), the tokens as the LLM gets them.
        published: keep chosen tokens in the race with a distance of about zero, as the released code does, so that
            among copies of chosen tokens one may be taken twice. Mended: what is chosen is out.

    Returns:
        (I, max(counts)) order; ties go to the earlier token.
    """
    nothing = ~valid
    distances = (1 - cosines(tokens, valid)).masked_fill(nothing[:, None], torch.inf)
    nearest_other = distances.topk(min(2, tokens.shape[1]), dim=-1, largest=False).values[..., -1]
    best = nearest_other.masked_fill(nothing, -torch.inf).argmax(dim=-1, keepdim=True)
    nearest, order = distances.new_full(nothing.shape, torch.inf), [best]
    for _ in range(max(counts) - 1):
        nearest = torch.minimum(nearest, distances.take_along_dim(best[..., None], dim=1)[:, 0])
        if not published:
            nearest = nearest.scatter(1, best, -torch.inf)
        best = nearest.masked_fill(nothing, -torch.inf).argmax(dim=-1, keepdim=True)
        order.append(best)
    return cut(torch.cat(order, dim=1), counts, tokens.shape[1])


def kept_of_share(share: float, length: int) -> int:
    """Tokens that a share of `length` comes to: 0.098 of 576 is 56, which the released scripts call 9.8 %."""
    return round(share * length)
