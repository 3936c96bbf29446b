"""How many scores stand out by the rule of the quartiles: above Q3 + 1.5 (Q3 - Q1) (PruMerge, TRIM)."""

import torch

from llava.reduction.sent import sent


def count_outliers(scores: torch.Tensor) -> torch.Tensor:
    """(I, n) float32 -> (I,) int64, of each row the scores above its fence; quartiles as NumPy interpolates them."""
    low, high = torch.quantile(scores, sent([0.25, 0.75], scores.device, scores.dtype), dim=-1)
    return (scores > (high + 1.5 * (high - low))[:, None]).sum(dim=-1)
