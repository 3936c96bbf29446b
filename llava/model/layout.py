"""Where things are in a batch of decoder inputs: known to the host, passed along, never kept on the model.

Rows are padded on the left, so the last column is the last token of every row. Token numbers inside a row count its
real tokens from 0.
"""

from dataclasses import dataclass, replace

import torch

from llava.reduction.selection import Selection, membership


@dataclass(frozen=True)
class Span:
    """One image's tokens: `length` of them from token `start` of row `row`; `initial` when they entered the LLM.

    `largest`: what the largest image has on entering, which the counts of a method's schedule are of; 0: not known.
    """

    row: int
    start: int
    length: int
    initial: int
    largest: int = 0


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

    def padding(self, device: torch.device) -> torch.Tensor:
        """(B, 1) int64: filler columns at the left of each row."""
        return torch.tensor([[self.width - length] for length in self.lengths], device=device)

    def columns(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows (I,), columns (I, n) and validity (I, n) of the image tokens; columns past an image's end repeat 0."""
        rows = torch.tensor([span.row for span in self.spans], device=device)
        first = torch.tensor([[self.width - self.lengths[span.row] + span.start] for span in self.spans], device=device)
        length = torch.tensor([[span.length] for span in self.spans], device=device)
        offset = torch.arange(max(span.length for span in self.spans), device=device)
        valid = offset < length
        return rows, torch.where(valid, first + offset, 0), valid

    def after(self, counts: tuple[int, ...]) -> "Layout":
        """The layout when span i has shrunk to `counts[i]` tokens and what follows has moved up."""
        lengths, spans, lost = list(self.lengths), [], [0] * len(self.lengths)
        for span, count in zip(self.spans, counts, strict=True):
            spans.append(replace(span, start=span.start - lost[span.row], length=count))
            lost[span.row] += span.length - count
            lengths[span.row] -= span.length - count
        return Layout(tuple(lengths), tuple(spans))

    def to_tensor(self) -> torch.Tensor:
        """(B, 1 + 4 * images) int64 on the CPU: length, then each image's start, length, initial, largest, then zeros.

        The form in which a layout passes through `generate`, which repeats the rows of tensors for beam search.
        """
        per_row: list[list[int]] = [[length] for length in self.lengths]
        for span in self.spans:
            per_row[span.row] += [span.start, span.length, span.initial, span.largest]
        widest = max(map(len, per_row))
        return torch.tensor([row + [0] * (widest - len(row)) for row in per_row])

    @classmethod
    def from_tensor(cls, table: torch.Tensor) -> "Layout":
        """The inverse of `to_tensor`."""
        rows = table.tolist()
        spans = [
            Span(row, *values[at : at + 4])
            for row, values in enumerate(rows)
            for at in range(1, len(values), 4)
            if values[at + 1]
        ]
        return cls(tuple(values[0] for values in rows), tuple(spans))


def splice(hidden: torch.Tensor, layout: Layout, selection: Selection) -> tuple[torch.Tensor, Layout]:
    """Replace the tokens of every image by its selection: text, dominant, contextual, text.

    Args:
        hidden: (B, T, D), rows padded on the left as `layout` says.
        selection: about the images of `layout.spans`, in that order.

    Returns:
        (B, T', D) and its layout; T' is the new longest row, padding is on the left again.

    Every source token gets a sort key: its column, or, for a contextual token, a place just after its image. Dropped
    tokens and padding get -1. Sorting the keys and taking the last T' columns puts everything where it belongs, with
    no loop over rows and nothing asked of the device.
    """
    device, (batch, width, _) = hidden.device, hidden.shape
    rows, columns, valid = layout.columns(device)
    new = layout.after(selection.counts)

    order = torch.arange(width, device=device)
    key = torch.where(order >= layout.padding(device), 2 * order, -1)
    kept = membership(selection.kept, valid.shape[1])
    key = torch.nn.functional.pad(key, (0, 1))  # one more column takes the writes of positions that hold no token
    key[rows[:, None], torch.where(valid, columns, width)] = torch.where(kept, 2 * columns, -1)
    key = key[:, :width]

    if selection.merged is not None:
        slots = selection.merged.values.shape[1]
        ordinal = torch.tensor(_ordinals(layout), device=device)
        places = ordinal[:, None] * slots + torch.arange(slots, device=device)
        room = (max(_ordinals(layout)) + 1) * slots
        after_image = 2 * columns.amax(dim=1, keepdim=True) + 1
        present = torch.arange(slots, device=device) < torch.tensor(selection.merged.counts, device=device)[:, None]
        extra_key = key.new_full((batch, room), -1)
        extra_key[rows[:, None], places] = torch.where(present, after_image, -1).expand_as(places)
        extra = hidden.new_zeros(batch, room, hidden.shape[2])
        extra[rows[:, None], places] = selection.merged.values
        hidden, key = torch.cat([hidden, extra], dim=1), torch.cat([key, extra_key], dim=1)

    source = key.sort(dim=1, stable=True).indices[:, -new.width :]
    return hidden.take_along_dim(source[..., None], dim=1), new


def _ordinals(layout: Layout) -> list[int]:
    """The number of each image within its row."""
    seen = [0] * len(layout.lengths)
    numbers = []
    for span in layout.spans:
        numbers.append(seen[span.row])
        seen[span.row] += 1
    return numbers
