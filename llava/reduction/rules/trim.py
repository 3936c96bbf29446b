"""Keep the patches that CLIP's text tower finds least like the question, and the mean of all others (TRIM).

TRIM, arXiv 2409.10994 (COLING 2025); released as FreedomIntelligence/TRIM, multimodal_encoder/clip_encoder.py. The
products are those of CLIP's two projections without normalisation.
"""

import torch

from llava.reduction.rules.basics import ascending, choice, cut, ranked
from llava.reduction.rules.outliers import count_outliers
from llava.reduction.selection import membership


@choice
def trim_scores(image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
    """(I, n, d) patches and (I, d) question, through CLIP's projections -> (I, n) float32, shares that sum to one."""
    return (-(image_embeds.float() @ text_embeds.float()[..., None])[..., 0]).softmax(dim=-1)


@choice
def trim_kept(scores: torch.Tensor, share: float | None = None) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The best int(n * share) patches of each image of n, ascending.

    Args:
        scores: (I, n) float32.
        share: None: of each image as many as are outliers of its scores; the counts are then read from the device,
            once for all images.

    Returns:
        (I, max(counts)) int64, filled up with n; and the counts.
    """
    length = scores.shape[1]
    if share is None:
        counts = tuple(int(length * (found / length)) for found in count_outliers(scores).tolist())
    else:
        counts = (int(length * share),) * len(scores)
    return ascending(cut(ranked(scores), counts, length)), counts


def mean_of_others(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The one token that stands for all that are not kept: (I, n, D), (I, k) filled with n -> (I, 1, D), their mean."""
    others = (~membership(kept, values.shape[1])).float()[:, None]
    with torch.autocast(values.device.type, enabled=False):
        return (others @ values.float() / others.sum(dim=-1, keepdim=True).clamp(min=1)).to(values.dtype)
