"""Image tokens and the text after them, out of a batch of hidden states.

Implements `llava.reduction.layer_evidence.TokenEvidence`; letters in shapes as in this room's `__init__`.
"""

from collections.abc import Sequence
from functools import cached_property

import torch

from llava.model.layout import Layout
from llava.reduction.rules.basics import places


class LayoutTokens:
    """The tokens of the images of a layout, and t tokens of text after each.

    Args:
        hidden: (B, T, D), padded on the left.
        layout: where the images are; it has at least one.
        ends: for each row the column behind the last token that counts as text; None: the batch's end.
    """

    def __init__(self, hidden: torch.Tensor, layout: Layout, ends: Sequence[int] | None = None) -> None:
        self._hidden, self._layout, self._ends = hidden, layout, ends
        self.lengths = tuple(span.length for span in layout.spans)
        self.starts = tuple(span.start for span in layout.spans)
        self._rows, self._columns, self.valid = layout.columns(hidden.device)
        # The usual batch: one image a row, all alike. Then a slice does what else takes a gather.
        spots = {(layout.width - layout.lengths[span.row] + span.start, span.length) for span in layout.spans}
        alike = len(spots) == 1 and [span.row for span in layout.spans] == list(range(len(hidden)))
        self._slice = slice(min(spots)[0], sum(min(spots))) if alike else None

    def _at_image(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, ...) -> (I, n, ...)."""
        return states[:, self._slice] if self._slice else states[self._rows[:, None], self._columns]

    def _at_text(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, ...) -> (I, t, ...)."""
        return states[self._rows[:, None], self._text[0]]

    def _by_image(self, states: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (I, ...)."""
        return states if self._slice else states[self._rows]

    @cached_property
    def _text(self) -> tuple[torch.Tensor, tuple[int, ...]]:
        return self._layout.text_columns(self._hidden.device, self._ends)

    @cached_property
    def values(self) -> torch.Tensor:
        """(I, n, D), the image tokens."""
        return self._at_image(self._hidden)

    @property
    def text_lengths(self) -> tuple[int, ...]:
        """Text tokens of each image."""
        return self._text[1]

    @cached_property
    def text_valid(self) -> torch.Tensor:
        """(I, t) bool."""
        return places(self.text_lengths, self._text[0].shape[1], self._hidden.device)

    @cached_property
    def text_values(self) -> torch.Tensor:
        """(I, t, D), the text tokens."""
        return self._at_text(self._hidden)
