"""Image tokens of a batch replaced by what a stage has kept of them, and their positions taken along."""

from dataclasses import dataclass

import torch

from llava.model.layout import Layout
from llava.reduction.selection import Selection, membership
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Splicing:
    """How the tokens of every image are replaced by a selection: text, dominant, contextual, text.

    Every source token gets a sort key: its column, or, for a contextual token, a place just after its image. Dropped
    tokens and padding get -1. Sorting the keys and taking the last T' columns puts everything where it belongs, with
    no loop over rows and nothing asked of the device.

    Attributes:
        source: (B, T') int64, where each token comes from: a column of the batch, or T and more: a contextual token.
        after: the layout; T' is the new longest row, padding is on the left again.
        rows: (I,) int64, the row of each image.
        places: (I, slots) int64, where the contextual tokens of each image stand behind the T columns; empty without.
        room: the places of a row.
    """

    source: torch.Tensor
    after: Layout
    rows: torch.Tensor
    places: torch.Tensor
    room: int

    def moved(self, states: torch.Tensor, contextual: torch.Tensor | None = None) -> torch.Tensor:
        """States (B, T, ...) of the old tokens and (I, slots, ...) of contextual ones -> (B, T', ...) of the new."""
        if self.room and contextual is not None:
            extra = states.new_zeros(len(states), self.room, *states.shape[2:])
            extra[self.rows[:, None], self.places] = contextual
            states = torch.cat([states, extra], dim=1)
        source = self.source if states.ndim == 2 else self.source[..., None]
        return states.take_along_dim(source, dim=1)


def splicing(layout: Layout, selection: Selection, device: torch.device) -> Splicing:
    """How to replace image tokens.

    Args:
        layout: of a batch (B, T), padded on the left.
        selection: about the images of `layout.spans`, in that order.
    """
    batch, width = len(layout.lengths), layout.width
    rows, columns, valid = layout.columns(device)
    order = torch.arange(width, device=device)
    key = torch.where(order >= layout.padding(device), 2 * order, -1)
    kept = membership(selection.kept, valid.shape[1])
    key = torch.nn.functional.pad(key, (0, 1))  # one more column takes the writes of positions that hold no token
    key[rows[:, None], torch.where(valid, columns, width)] = torch.where(kept, 2 * columns, -1)
    key, places, room = key[:, :width], rows[:, None][:, :0], 0

    merged = selection.merged
    if merged is not None and max(merged.counts):
        slots = merged.values.shape[1]
        slot = torch.arange(slots, device=device)
        ordinal = sent(_ordinals(layout), device)
        places, room = ordinal[:, None] * slots + slot, (max(_ordinals(layout)) + 1) * slots
        after_image = 2 * columns.amax(dim=1, keepdim=True) + 1
        present = slot < sent(merged.counts, device)[:, None]
        extra_key = key.new_full((batch, room), -1)
        extra_key[rows[:, None], places] = torch.where(present, after_image, -1)
        key = torch.cat([key, extra_key], dim=1)

    after = layout.after(selection.counts)
    source = key.sort(dim=1, stable=True).indices[:, -after.width :]
    return Splicing(source, after, rows, places, room)


def splice(hidden: torch.Tensor, layout: Layout, selection: Selection) -> tuple[torch.Tensor, Layout]:
    """Hidden states (B, T, D) after every image was replaced by its selection, (B, T', D), and their layout."""
    how = splicing(layout, selection, hidden.device)
    return how.moved(hidden, selection.merged.values if selection.merged is not None else None), how.after


def spliced_positions(positions: torch.Tensor, how: Splicing, layout: Layout, selection: Selection) -> torch.Tensor:
    """Positions (B, T) int64 of the old tokens -> (B, T') of the new: a token takes its own along.

    A contextual token stands where the token stood that it was built on.
    """
    if selection.merged is None or not how.room:
        return how.moved(positions)
    rows, columns, _ = layout.columns(positions.device)
    own = positions[rows[:, None], columns]
    return how.moved(positions, own.take_along_dim(selection.merged.targets.clamp(max=own.shape[1] - 1), dim=1))


def _ordinals(layout: Layout) -> list[int]:
    """The number of each image within its row."""
    seen = [0] * len(layout.lengths)
    numbers = []
    for span in layout.spans:
        numbers.append(seen[span.row])
        seen[span.row] += 1
    return numbers
