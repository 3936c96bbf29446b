"""Where things are in a batch of decoder inputs: known to the host, passed along, never kept on the model.

Rows are padded on the left, so the last column is the last token of every row. Token numbers inside a row count its
real tokens from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from llava.errors import InputError
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Span:
    """One image's tokens: `length` of them from token `start` of row `row`; `initial` when they entered the LLM.

    `largest`: what the largest image has on entering, which the counts of a method's schedule are of; 0: not known.
    `gap`: positions it takes beyond one for each token, where tokens keep those of the whole image.
    """

    row: int
    start: int
    length: int
    initial: int
    largest: int = 0
    gap: int = 0


@dataclass(frozen=True)
class Layout:
    """Real tokens per row, and the image spans by row and start."""

    lengths: tuple[int, ...]
    spans: tuple[Span, ...] = ()

    @property
    def width(self) -> int:
        """Columns: the longest row."""
        return max(self.lengths)

    @property
    def padded(self) -> bool:
        """True where some row is shorter than the others."""
        return min(self.lengths) < self.width

    def tokens_of(self, row: int) -> int:
        """Image tokens of a row."""
        return sum(span.length for span in self.spans if span.row == row)

    @property
    def gaps(self) -> tuple[int, ...]:
        """Of each row, the positions that its images take beyond their tokens; (): none in any."""
        found = [0] * len(self.lengths)
        for span in self.spans:
            found[span.row] += span.gap
        return tuple(found) if any(found) else ()

    def padding(self, device: torch.device) -> torch.Tensor:
        """(B, 1) int64: filler columns at the left of each row."""
        return sent([[self.width - length] for length in self.lengths], device)

    def columns(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows (I,), columns (I, n) and validity (I, n) of the image tokens; columns past an image's end repeat 0."""
        spans = [[span.row, self.width - self.lengths[span.row] + span.start, span.length] for span in self.spans]
        rows, first, length = sent(spans, device).split(1, dim=1)
        offset = torch.arange(max(span.length for span in self.spans), device=device)
        valid = offset < length
        return rows[:, 0], torch.where(valid, first + offset, 0), valid

    def text_columns(
        self, device: torch.device, ends: Sequence[int] | None = None
    ) -> tuple[torch.Tensor, tuple[int, ...]]:
        """For each image the columns of the text after it, (I, t) int64, and how many are real; others repeat 0.

        Args:
            ends: for each row the column behind its last text token; None: the batch's end.
        """
        whole = range(self.width)
        found = []
        for span in self.spans:
            first = self.width - self.lengths[span.row]
            others = [other for other in self.spans if other.row == span.row and other.start > span.start]
            last = self.width if ends is None else ends[span.row]
            columns = list(whole[first + span.start + span.length : last])
            for other in others:
                begin = first + other.start
                columns = [column for column in columns if not begin <= column < begin + other.length]
            found.append(columns)
        widest = max(map(len, found))
        table = torch.tensor([columns + [0] * (widest - len(columns)) for columns in found], dtype=torch.long)
        return sent(table.view(len(found), widest), device), tuple(map(len, found))

    def beginning_at(self, start: int) -> "Layout":
        """The layout whose image begins at token `start` of its row, as many tokens long, or to the row's end.

        Raises:
            InputError: for a row of several images, or one that ends before `start`.
        """
        rows = [span.row for span in self.spans]
        if len(set(rows)) < len(rows):
            raise InputError(
                f"an image that is said to begin at token {start} must be alone in its row: got several; leave the "
                f"beginning out"
            )
        short = [self.lengths[row] for row in rows if self.lengths[row] <= start]
        if short:
            raise InputError(f"an image must begin inside its prompt: got token {start} of {short[0]}; lower it")
        spans = [
            replace(span, start=start, length=min(span.length, self.lengths[span.row] - start)) for span in self.spans
        ]
        return Layout(self.lengths, tuple(spans))

    def after(self, counts: tuple[int, ...]) -> "Layout":
        """The layout when span i has shrunk to `counts[i]` tokens and what follows has moved up."""
        lengths, spans, lost = list(self.lengths), [], [0] * len(self.lengths)
        for span, count in zip(self.spans, counts, strict=True):
            spans.append(replace(span, start=span.start - lost[span.row], length=count))
            lost[span.row] += span.length - count
            lengths[span.row] -= span.length - count
        return Layout(tuple(lengths), tuple(spans))

    def to_tensor(self) -> torch.Tensor:
        """(B, 1 + 5 * images) int64 on the CPU: length, then each image's numbers from start to gap, then zeros.

        The form in which a layout passes through `generate`, which repeats the rows of tensors for beam search.
        """
        per_row: list[list[int]] = [[length] for length in self.lengths]
        for span in self.spans:
            per_row[span.row] += [span.start, span.length, span.initial, span.largest, span.gap]
        widest = max(map(len, per_row))
        return torch.tensor([row + [0] * (widest - len(row)) for row in per_row])

    @classmethod
    def from_tensor(cls, table: torch.Tensor) -> "Layout":
        """The inverse of `to_tensor`."""
        rows = table.tolist()
        spans = [
            Span(row, *values[at : at + 5])
            for row, values in enumerate(rows)
            for at in range(1, len(values), 5)
            if values[at + 1]
        ]
        return cls(tuple(values[0] for values in rows), tuple(spans))
