"""Which image tokens stay: the highest-ranked ones, in the order they already have."""

from dataclasses import dataclass

import torch

from llava.reduction.merging import Merged
from llava.reduction.sent import sent

# How what was kept of a LLaVA-NeXT image's views becomes one row of tokens. PICTURE is VisionZip's: the base view, then
# the tiles' patches row by row over the whole picture, then what was merged; no newlines. NEWLINES: the patches where
# the unreduced image has them, its newlines all there, what lies in the padding cut off. VIEWS: one view after the
# other, each in the order of `kept`; so it is with PICTURE too where views keep different numbers.
PICTURE, NEWLINES, VIEWS = "picture", "newlines", "views"


@dataclass(frozen=True)
class Selection:
    """What one stage keeps of each of I images. Images may differ in length: rows are filled up at their end.

    Attributes:
        kept: (I, k) int64, indices of the tokens that stay, ascending, or before the LLM in the order that
            `arrangement` is about; filled up with the padded length n.
        kept_counts: how many of a row of `kept` count, one number per image; n among those is a vector of zeros.
        merged: the contextual tokens made of the others, or None where the method makes none.
        scores: (I, n) float32, the ranking; -inf where an image has no token. Kept for pictures and tests.
        keeps_cls: the encoder's [CLS] token goes first. Never true inside the LLM.
        values: (I, k, D), what the tokens in `kept` have become by others that were merged into them; None: themselves.
            Before the LLM only.
        assignment: with `values`, (I, n) int64, the place in `kept` that a token went into, its own for a kept one; -1
            where it went nowhere.
        arrangement: how the views of a LLaVA-NeXT image follow one another: see `PICTURE` and its neighbours.
        zeros: some of what counts may be vectors of zeros.
    """

    kept: torch.Tensor
    kept_counts: tuple[int, ...]
    scores: torch.Tensor
    merged: Merged | None = None
    keeps_cls: bool = False
    values: torch.Tensor | None = None
    assignment: torch.Tensor | None = None
    arrangement: str = PICTURE
    zeros: bool = False

    @property
    def ragged(self) -> bool:
        """Whether `kept` may hold its filling."""
        return self.zeros or min(self.kept_counts) < self.kept.shape[1]

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens left of each image."""
        contextual = self.merged.counts if self.merged is not None else (0,) * len(self.kept_counts)
        return tuple(int(self.keeps_cls) + kept + more for kept, more in zip(self.kept_counts, contextual))

    def tokens(self, values: torch.Tensor, cls_token: torch.Tensor | None = None) -> torch.Tensor:
        """What is left before the LLM: [CLS], kept, merged; rows keep their filling, as vectors of zeros.

        Args:
            values: (I, n, D), what was chosen from; cls_token: (I, 1, D), with `keeps_cls`.

        Returns:
            (I, 1 + k + contextual, D).
        """
        parts = []
        if self.keeps_cls:
            assert cls_token is not None
            parts.append(cls_token)
        if self.values is not None:
            parts.append(self.values)
        elif self.ragged:
            parts.append(torch.nn.functional.pad(values, (0, 0, 0, 1)).take_along_dim(self.kept[..., None], dim=1))
        else:
            parts.append(values.take_along_dim(self.kept[..., None], dim=1))
        if self.merged is not None:
            parts.append(self.merged.values)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


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
        limit = sent(counts, scores.device)[:, None]
        best = best.masked_fill(torch.arange(widest, device=scores.device) >= limit, scores.shape[-1])
    return best.sort(dim=-1).values


def membership(indices: torch.Tensor, length: int) -> torch.Tensor:
    """(I, k) indices below or equal to `length` -> (I, length) bool, True at those below."""
    flags = indices.new_zeros((indices.shape[0], length + 1), dtype=torch.bool)
    return flags.scatter(1, indices, True)[:, :length]
