"""Rankings of image tokens inside the LLM that need one row or one difference (FastV, V2Drop).

FastV, arXiv 2403.06764 (ECCV 2024); released as pkunlp-icler/FastV. V2Drop, arXiv 2509.01552 (CVPR 2026); released as
xuyang-liu16/V2Drop. Both keep the best tokens in their old order and leave survivors their positions.
"""

import torch

from llava.reduction.rules.basics import choice


def fastv_scores(rows: torch.Tensor) -> torch.Tensor:
    """(I, H, 1, n), what the last prompt token gave to the image in the layer that has run -> (I, n), mean over heads.

    The paper's text speaks of attention received from all tokens; the released code reads the last row only.
    """
    return rows.mean(dim=1).squeeze(1)


@choice
def v2drop_scores(entering: torch.Tensor, entered_before: torch.Tensor) -> torch.Tensor:
    """How far a layer moved each token: (I, n, D), before this layer and before the last one -> (I, n) float32."""
    return (entering.float() - entered_before.float()).norm(dim=-1)


def v2drop_kept(tokens: int, ratio: float, least: int = 1) -> int:
    """Tokens left of an image of `tokens`: int(tokens * ratio), `least` at the least, if there are so many."""
    return min(tokens, max(least, int(tokens * ratio)))
