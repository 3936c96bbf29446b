"""The order of the tokens of images of which the vision encoder kept a part: VisionZip's of tiles; frame after frame.

A view of which only a part is left is no map any more: nothing is pooled or shrunk, no padding is cut off, no row ends,
and so no newline token is put anywhere. What a schedule counts is what enters the LLM.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import torch

from llava.model.forms import Form, Rules
from llava.reduction.selection import Selection
from llava.reduction.sent import sent


def reduced_tokens(
    selection: Selection, per_view: int, forms: Sequence[Form], rules: Rules
) -> tuple[torch.Tensor, list[int]]:
    """The order of the tokens of several images; those of the same grid of tiles are put in order together.

    Args:
        selection: what was kept of all views of all images, one after the other.
        per_view: tokens of each view.

    Returns:
        (total,) int64 indices into the tokens of all views; and the number of tokens of each image.
    """
    kept, firsts = selection.kept, [0, *itertools.accumulate(form.views for form in forms)]
    contextual = per_view - int(selection.keeps_cls) - kept.shape[1]
    pieces: list[torch.Tensor] = [kept] * len(forms)
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, (form, first) in enumerate(zip(forms, firsts)):
        if form.grid != (0, 0):
            alike[form.grid].append(number)
        else:
            pieces[number] = torch.arange(first * per_view, (first + form.views) * per_view, device=kept.device)
    for (rows, cols), numbers in alike.items():
        chosen = sent([firsts[number] for number in numbers], kept.device)
        members = chosen[:, None] + torch.arange(1 + rows * cols, device=kept.device)
        order = reduced_order(kept[members], selection.keeps_cls, contextual, rows, cols, rules.side)
        order = order[:, per_view:] if rules.merge.nobase else order
        for number, own in zip(numbers, order + chosen[:, None] * per_view):
            pieces[number] = own
    return torch.cat(pieces), [len(piece) for piece in pieces]


def reduced_order(
    kept: torch.Tensor, keeps_cls: bool, contextual: int, rows: int, cols: int, side: int
) -> torch.Tensor:
    """VisionZip's order of the tokens of images with a base view and tiles, for images of the same grid.

    Base view as it is; then the tiles' dominant patches, row by row over the whole picture; then each tile's [CLS];
    then the tiles' contextual tokens. No newline, no cutting of padding.

    Args:
        kept: (I, 1 + rows * cols, k) int64, the dominant patches of each view, every view keeping [CLS] before them
            with `keeps_cls`, and `contextual` tokens after them.

    Returns:
        (I, n) int64 indices into the image's views one after the other, each of [1 +] k + contextual tokens.
    """
    images, views, count = kept.shape
    lead, device = int(keeps_cls), kept.device
    per_view = lead + count + contextual
    tile = torch.arange(views - 1, device=device)
    first = (1 + tile) * per_view
    patch = kept[:, 1:]
    line = (tile // cols)[:, None] * side + patch // side
    place = line * (cols * side) + (tile % cols)[:, None] * side + patch % side
    by_place = place.flatten(1).argsort(dim=1)
    dominant = (first[:, None] + lead + torch.arange(count, device=device)).flatten()[by_place]
    folded = (first[:, None] + lead + count + torch.arange(contextual, device=device)).flatten()
    base = torch.arange(per_view, device=device)
    last = torch.cat([first, folded]) if keeps_cls else folded
    return torch.cat([base.expand(images, -1), dominant, last.expand(images, -1)], dim=1)
