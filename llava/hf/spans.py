"""Where each picture's placeholders are in prompts."""

import torch

from llava.errors import InputError
from llava.model.layout import Layout, Span


def lengths_of(mask: torch.Tensor | None, rows: int, width: int) -> tuple[int, ...]:
    """Real tokens of each row of new tokens, which are padded on the left.

    Args:
        mask: (B, past + width), 0 at padding; None: all are real.

    Raises:
        InputError: for padding elsewhere.
    """
    if mask is None:
        return (width,) * rows
    if mask.ndim != 2:
        raise InputError(
            f"a reduced model takes an attention_mask of prompts (rows, tokens): got {mask.ndim} dimensions; pass what "
            f"the processor gives"
        )
    own = mask[:, -width:].cpu().bool()
    lengths = own.sum(dim=1)
    if not torch.equal(own, torch.arange(width) >= width - lengths[:, None]):
        raise InputError(
            "prompts of a reduced model are padded on the left: got padding elsewhere; set "
            'processor.tokenizer.padding_side = "left"'
        )
    return tuple(lengths.tolist())


def picture_layout(
    ids: torch.Tensor, token: int, lengths: tuple[int, ...], counts: tuple[int, ...]
) -> tuple[Layout, list[int]]:
    """The layout of prompts, and for each of its spans the number of its picture.

    Args:
        ids: (B, T) int64 on the CPU; beams and several answers repeat each prompt with its pictures.
        token: the placeholder's id.
        lengths: real tokens of each row.
        counts: placeholders of each picture, in the order of the prompts.

    Raises:
        InputError: where the placeholders are not those of the pictures.
    """
    width = ids.shape[1]
    places = [row.nonzero().flatten().tolist() for row in ids == token]
    total, own = sum(map(len, places)), sum(counts)
    copies = total // own if own else 0
    if not copies or copies * own != total or len(ids) % copies:
        raise InputError(
            f"prompts must have a placeholder for each token of their pictures: got {total} placeholders, expected "
            f"{own}; prepare text and pictures with the model's processor"
        )
    spans, pictures, picture = [], [], 0
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
                spans.append(Span(row, start, len(columns), len(columns)))
                pictures.append(number)
                at += counts[number]
    return Layout(lengths, tuple(spans)), pictures
