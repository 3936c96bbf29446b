"""Labels on their way through the decoder: which token is to be predicted where, after image tokens were dropped.

No method drops text, so the supervised tokens are the same at every stage. What is dropped has the label -100.
"""

import torch

from llava.constants import IGNORE_INDEX
from llava.model.layout import Layout


def without_first(labels: torch.Tensor, layout: Layout) -> torch.Tensor:
    """(B, T) labels in which each row's first token has none: nothing stands before it to predict it from."""
    column = torch.arange(layout.width, device=labels.device)
    return labels.masked_fill(column <= layout.padding(labels.device), IGNORE_INDEX)


def follow(labels: torch.Tensor, before: Layout, after: Layout) -> torch.Tensor:
    """(B, T) labels of the tokens laid out as `before` -> (B, T') of what is left of them, laid out as `after`."""
    old, new = _text(before).nonzero().T.to(labels.device), _text(after).nonzero().T.to(labels.device)
    moved = labels.new_full((len(labels), after.width), IGNORE_INDEX)
    moved[new[0], new[1]] = labels[old[0], old[1]]
    return moved


def _text(layout: Layout) -> torch.Tensor:
    """(B, T) bool on the CPU, True at real tokens that are no image's."""
    first = layout.padding(torch.device("cpu"))
    text = torch.arange(layout.width) >= first
    for span in layout.spans:
        start = int(first[span.row]) + span.start
        text[span.row, start : start + span.length] = False
    return text


def asking_columns(labels: torch.Tensor) -> list[list[int]]:
    """For each row of (B, T) labels the columns of the tokens before each run of labels: those that answers follow.

    What PyramidDrop ranks by in training, as its code does.
    """
    starts = (labels[:, 1:] != IGNORE_INDEX) & (labels[:, :-1] == IGNORE_INDEX)
    columns: list[list[int]] = [[] for _ in labels]
    for row, column in starts.nonzero().tolist():
        columns[row].append(column)
    return columns


def split_spans(layout: Layout, asking: list[list[int]] | None) -> tuple[Layout, Layout]:
    """The layout with the images of rows in which something is asked, and with the others; None: all rows ask."""
    asked = tuple(span for span in layout.spans if asking is None or asking[span.row])
    others = tuple(span for span in layout.spans if asking is not None and not asking[span.row])
    return Layout(layout.lengths, asked), Layout(layout.lengths, others)


def join_spans(layout: Layout, others: Layout) -> Layout:
    """The layout with its own images and those of other rows."""
    return Layout(
        layout.lengths, tuple(sorted((*layout.spans, *others.spans), key=lambda span: (span.row, span.start)))
    )
