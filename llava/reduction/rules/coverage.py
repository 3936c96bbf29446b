"""Take, one by one, the token that adds most to how well the chosen ones stand for all (SCOPE, MMTok).

SCOPE, arXiv 2510.24214; MMTok, arXiv 2508.18264. A row is something to be covered: a patch, or a word of the question.
What is chosen covers a row as well as its best token does; a token's gain is what it adds over all rows.
"""

import torch

from llava.reduction.rules.basics import choice, cosines, cut, unit


@choice
def greedy_coverage(
    worth: torch.Tensor,
    counts: tuple[int, ...],
    valid: torch.Tensor,
    weights: torch.Tensor | None = None,
    combined: str = "multi",
) -> torch.Tensor:
    """Greedy choice of `counts[i]` tokens by gain, over all images at once.

    A loop over max(counts) steps is inherent: each gain depends on what was chosen before. A step reads `worth` once,
    and nothing is asked of the device.

    Args:
        worth: (I, n, R) float32, how well each token covers each row; zero or less counts for nothing.
        valid: (I, n) bool, the tokens that may be chosen; no row of `worth` is left out by it.
        weights: (I, n) float32, multiplied with each token's gain, or added to it where `combined` is "add".

    Returns:
        (I, max(counts)) order.
    """
    images, length, rows = worth.shape
    reached, missing = worth.new_zeros(images, 1, rows), torch.empty_like(worth)
    # What is added to a gain: minus infinity where a token is taken, or is none.
    added = worth.new_zeros(images, length) if weights is None or combined == "multi" else weights.clone()
    added.masked_fill_(~valid, -torch.inf)
    factors = torch.ones_like(added) if weights is None or combined == "add" else weights.masked_fill(~valid, 0)
    order = []
    for _ in range(max(counts)):
        gains = torch.sub(worth, reached, out=missing).clamp_(min=0).sum(dim=-1)
        best = torch.addcmul(added, gains, factors).argmax(dim=-1, keepdim=True)
        added.scatter_(1, best, -torch.inf)
        reached = torch.maximum(reached, worth.take_along_dim(best[..., None], dim=1))
        order.append(best)
    return cut(torch.cat(order, dim=1), counts, length)


@choice
def scope_order(
    features: torch.Tensor,
    attention: torch.Tensor,
    counts: tuple[int, ...],
    valid: torch.Tensor,
    alpha: float = 1.0,
    combined: str = "multi",
) -> torch.Tensor:
    """SCOPE: rows are the image's own tokens, worth is their cosine, the weight is attention to the power `alpha`.

    Args:
        features: (I, n, D), the patches before the projector.
        attention: (I, n) float32, what [CLS] gives to each patch, heads added up.
    """
    return greedy_coverage(cosines(features, valid), counts, valid, attention**alpha, combined)


@choice
def mmtok_order(
    words: torch.Tensor,
    projected: torch.Tensor,
    features: torch.Tensor,
    counts: tuple[int, ...],
    valid: torch.Tensor,
    word_valid: torch.Tensor,
    alpha: float = 0.5,
    word_temperature: float = 0.01,
    patch_temperature: float = 0.2,
) -> torch.Tensor:
    """MMTok: rows are the question's words and, weighted `alpha`, the image's own patches; a row's worths are shares.

    Args:
        words: (I, w, D), the LLM's embeddings of the question's tokens.
        projected: (I, n, D), the patches as the LLM gets them.
        features: (I, n, d), the patches before the projector.
        word_valid: (I, w) bool, where there is a word.
        word_temperature: the softmax over patches is of cosine / temperature; the released core passes 0.02, its
            function's own default is 0.01.
    """
    to_patches = unit(words) @ unit(projected).transpose(1, 2)
    word_rows = _over_patches(to_patches / word_temperature, valid, word_valid)
    patch_rows = _over_patches(cosines(features, valid) / patch_temperature, valid, valid)
    worth = torch.cat([word_rows, alpha * patch_rows], dim=1)
    return greedy_coverage(worth.transpose(1, 2).contiguous(), counts, valid)


def _over_patches(logits: torch.Tensor, valid: torch.Tensor, row_valid: torch.Tensor) -> torch.Tensor:
    """(I, R, n) -> softmax over the real patches, divided by the number of real rows; zero in the other rows."""
    shares = logits.masked_fill(~valid[:, None], torch.finfo(logits.dtype).min).softmax(dim=-1)
    return shares.masked_fill(~row_valid[..., None], 0) / row_valid.sum(dim=1).clamp(min=1)[:, None, None]
