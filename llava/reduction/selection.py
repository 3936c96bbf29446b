"""Which image tokens stay: the highest-ranked ones, in the order they already have."""

from dataclasses import dataclass

import torch

from llava.reduction.merging import Merged


@dataclass(frozen=True)
class Selection:
    """What one stage keeps of each of I images. Images may differ in length: rows are filled up at their end.

    Attributes:
        kept: (I, k) int64, indices of the tokens that stay as they are, ascending; filled up with the padded length n.
        kept_counts: how many of a row of `kept` are real, one number per image.
        merged: the contextual tokens made of the others, or None where the method only drops.
        scores: (I, n) float32, the ranking; -inf where an image has no token. Kept for pictures and tests.
        keeps_cls: the encoder's [CLS] token goes first. Never true inside the LLM.
    """

    kept: torch.Tensor
    kept_counts: tuple[int, ...]
    scores: torch.Tensor
    merged: Merged | None = None
    keeps_cls: bool = False

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens left of each image."""
        contextual = self.merged.counts if self.merged is not None else (0,) * len(self.kept_counts)
        return tuple(int(self.keeps_cls) + kept + more for kept, more in zip(self.kept_counts, contextual))


def select_top(scores: torch.Tensor, counts: tuple[int, ...]) -> torch.Tensor:
    """Indices of the `counts[i]` highest scores of row i, in ascending order; ties go to the earlier token.

    Args:
        scores: (I, n); -inf marks positions without a token.
        counts: one number per row, none larger than the row's tokens.

    Returns:
        (I, max(counts)) int64; rows that keep fewer are filled up with n, after their real indices.

    Example: scores [[.1, .7, .3, .7]], counts (2,) -> [[1, 3]].
    """
    widest = max(counts)
    best = scores.sort(dim=-1, descending=True, stable=True).indices[:, :widest]
    if min(counts) < widest:
        limit = torch.tensor(counts, device=scores.device)[:, None]
        best = best.masked_fill(torch.arange(widest, device=scores.device) >= limit, scores.shape[-1])
    return best.sort(dim=-1).values


def membership(indices: torch.Tensor, length: int) -> torch.Tensor:
    """(I, k) indices below or equal to `length` -> (I, length) bool, True at those below."""
    flags = indices.new_zeros((indices.shape[0], length + 1), dtype=torch.bool)
    return flags.scatter(1, indices, True)[:, :length]
