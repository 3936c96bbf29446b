"""How much attention each image token receives: pure functions from tensors to tensors.

Letters in shapes: I images, H query heads, G key heads (G divides H), R query rows, T keys, n image tokens, d width
of a head.
"""

import torch

from llava.reduction.precision import without_autocast


def attention_rows(
    queries: torch.Tensor, keys: torch.Tensor, scale: float, allowed: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention probabilities of chosen query rows over all keys, without the rest of the attention matrix.

    Args:
        queries: (I, H, R, d), any floating dtype, already rotated where the model rotates.
        keys: (I, G, T, d); grouped keys serve H / G query heads each, in order.
        scale: what the dot products are multiplied with, 1 / sqrt(d) in CLIP and LLaMA.
        allowed: bool, broadcastable to (I, 1, R, T); True where a row may look. None: everywhere.

    Returns:
        (I, H, R, T) float32 whatever the input dtype, inside autocast too; each row sums to one.
    """
    images, heads, rows, width = queries.shape
    groups, length = keys.shape[1], keys.shape[2]
    with without_autocast(queries.device):
        grouped = queries.float().reshape(images, groups, heads // groups * rows, width)
        logits = (grouped @ keys.float().transpose(-1, -2) * scale).view(images, heads, rows, length)
        if allowed is not None:
            logits.masked_fill_(~allowed, torch.finfo(logits.dtype).min)
        return logits.softmax(dim=-1)


def summed_over_heads(rows: torch.Tensor) -> torch.Tensor:
    """Score of the encoder stage (VisionZip, VisionDrop): what [CLS] gives to each patch, heads added up.

    (I, H, 1, n) -> (I, n), dtype kept.
    """
    return rows.sum(dim=1).squeeze(1)


def mean_received(rows: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
    """What each image token receives on average: the mean over heads, then over query rows.

    VisionDrop's score inside the LLM (rows are the image's own tokens), PyramidDrop's (one row, the last prompt
    token), and the encoder score where there is no [CLS] (rows are all patches).

    Args:
        rows: (I, H, R, n); rows beyond an image's own are zero.
        counts: (I, 1), how many rows of each image are real; None: all R.

    Returns:
        (I, n), dtype kept.
    """
    summed = rows.mean(dim=1).sum(dim=1)
    return summed / (rows.shape[2] if counts is None else counts)
