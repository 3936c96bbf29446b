"""What a method may ask of CLIP where a picture is seen at several scales; letters as in this room's `__init__`."""

from typing import Any

import torch

from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.surroundings import Surroundings


class ScaledEvidence(ClipEvidence):
    """Evidence of the smallest scale, whose patches are the tokens one to one; the values are those of all scales.

    How to rank is not published for S2. Here [CLS], the keys and the attention are the smallest scale's own.

    Args:
        layer, entering, leaving, pixels: see `ClipEvidence`; of the smallest scale.
        scaled: (I, 1 + n, D of all scales), the tokens as the projector takes them, [CLS] first.
        around: see `ClipEvidence`.
    """

    def __init__(
        self,
        layer: Any,
        entering: torch.Tensor,
        leaving: torch.Tensor,
        pixels: torch.Tensor,
        scaled: torch.Tensor,
        around: Surroundings | None = None,
    ) -> None:
        super().__init__(layer, entering, leaving, pixels, around)
        self._smallest = leaving
        self._leaving = scaled

    @property
    def own_values(self) -> torch.Tensor:
        """(I, n, D of one scale)."""
        return self._smallest[:, 1:]
