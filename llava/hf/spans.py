"""Where each picture's placeholders are in prompts, and where prompts are padded."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from llava.errors import InputError
from llava.model.layout import Layout, Span


@dataclass(frozen=True)
class Padded:
    """New tokens (B, width) and their padding.

    Attributes:
        lengths: real tokens of each row.
        order: (B, max(lengths)) int64, the columns that make the rows padded on the left and no wider than they need
            be; None: they are so as they are.
    """

    lengths: tuple[int, ...]
    order: torch.Tensor | None = None


def padded(mask: torch.Tensor | None, rows: int, width: int) -> Padded:
    """What a mask says of new tokens.

    Args:
        mask: (B, past + width), 0 at padding, wherever it is; None: all are real.

    Raises:
        InputError: for a mask of another form, or a row without a token.
    """
    if mask is None:
        return Padded((width,) * rows)
    if mask.ndim != 2:
        raise InputError(
            f"a reduced model takes an attention_mask of prompts (rows, tokens): got {mask.ndim} dimensions; pass what "
            f"the processor gives"
        )
    own = mask[:, -width:].cpu().bool()
    lengths = own.sum(dim=1)
    if not lengths.all():
        raise InputError("every prompt must have a token: got an attention_mask with a row of zeros; leave the row out")
    made = tuple(lengths.tolist())
    if max(made) == width and torch.equal(own, torch.arange(width) >= width - lengths[:, None]):
        return Padded(made)
    return Padded(made, own.byte().sort(dim=1, stable=True).indices[:, -max(made) :])


def check_padding(mask: torch.Tensor | None) -> None:
    """Refuse prompts that an answer cannot follow.

    Raises:
        InputError: for a mask (B, T) whose last column is padding somewhere.
    """
    if mask is not None and mask.ndim == 2 and not mask[:, -1].all():
        raise InputError(
            "an answer follows its prompt, so that prompts of generate are padded on the left: got padding on the "
            'right; set processor.tokenizer.padding_side = "left"'
        )


def picture_layout(
    ids: torch.Tensor, counts: Mapping[int, tuple[int, ...]], lengths: tuple[int, ...]
) -> tuple[Layout, list[int]]:
    """The layout of prompts, and for each of its spans the number of its picture.

    Args:
        ids: (B, T) int64 on the CPU; beams and several answers repeat each prompt with its pictures.
        counts: by placeholder's id, those of each picture in the order of the prompts. Pictures are numbered one kind
            after the other.
        lengths: real tokens of each row.

    Raises:
        InputError: where the placeholders are not those of the pictures.
    """
    found: list[tuple[Span, int]] = []
    before = 0
    for token, own in counts.items():
        found += [(span, before + number) for span, number in _spans(ids, token, own, lengths)]
        before += len(own)
    found.sort(key=lambda pair: (pair[0].row, pair[0].start))
    return Layout(lengths, tuple(span for span, _ in found)), [number for _, number in found]


def _spans(ids: torch.Tensor, token: int, counts: tuple[int, ...], lengths: tuple[int, ...]) -> list[tuple[Span, int]]:
    """Those of one kind of placeholder, and the numbers of their pictures."""
    width = ids.shape[1]
    places = [row.nonzero().flatten().tolist() for row in ids == token]
    total, own = sum(map(len, places)), sum(counts)
    copies = total // own if own else 0
    if not copies or copies * own != total or len(ids) % copies:
        raise InputError(
            f"prompts must have a placeholder for each token of their pictures: got {total} placeholders, expected "
            f"{own}; prepare text and pictures with the model's processor"
        )
    spans, picture = [], 0
    for first in range(0, len(ids), copies):
        begin, left = picture, len(places[first])
        while left > 0:
            left -= counts[picture]
            picture += 1
        assert left == 0, "a picture's placeholders are in one prompt"
        for row in range(first, first + copies):
            at = 0
            for number in range(begin, picture):
                columns = places[row][at : at + counts[number]]
                assert columns[-1] - columns[0] == len(columns) - 1, "a picture's placeholders follow one another"
                start = columns[0] - (width - lengths[row])
                spans.append((Span(row, start, len(columns), len(columns)), number))
                at += counts[number]
    return spans


def runs(row: torch.Tensor, token: int) -> list[tuple[int, int]]:
    """First column and length of each run of a placeholder in ids (T,)."""
    marked = torch.nn.functional.pad((row == token).to(torch.int8), (1, 1)).diff()
    first, last = (marked == 1).nonzero().flatten().tolist(), (marked == -1).nonzero().flatten().tolist()
    return [(begin, end - begin) for begin, end in zip(first, last)]
