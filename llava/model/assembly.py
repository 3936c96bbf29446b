"""From the features of views to the tokens of images (LLaVA-NeXT's tiles, VisionZip's order of them).

An image is one view (LLaVA-1.5), or a base view and tiles (LLaVA-NeXT). Everything here is index arithmetic; features
are moved by one gather.
"""

import functools
import itertools
from collections import defaultdict
from collections.abc import Sequence

import torch

from llava.errors import InputError
from llava.reduction.selection import Selection


@functools.lru_cache(maxsize=256)
def unreduced_order(
    rows: int, cols: int, side: int, image_size: tuple[int, int], unpad: bool
) -> tuple[torch.Tensor, int]:
    """Order of an image's tokens where nothing was dropped and the patch merge type is `spatial` or `spatial_unpad`.

    Args:
        rows, cols: tiles of the grid; 0 x 0 for an image of one view.
        side: patches along one side of a view.
        image_size: (width, height) of the picture in pixels, for cutting off padding.
        unpad: cut the padding off and end every row of patches with the newline token.

    Returns:
        (n,) int64 indices into the image's views one after the other, (1 + rows * cols) * side^2 standing for the
        newline token; and n. The base view comes first, then the tiles as one picture, row by row.
    """
    patches = side * side
    newline = (1 + rows * cols) * patches
    base = torch.arange(patches)
    if rows * cols == 0:
        order = torch.cat([base, torch.tensor([newline])]) if unpad else base
        return order, len(order)
    tiles = patches + torch.arange(rows * cols * patches).view(rows, cols, side, side)
    if not unpad:
        order = torch.cat([base, tiles.permute(0, 2, 1, 3).flatten()])
        return order, len(order)
    picture = _without_padding(tiles.permute(0, 2, 1, 3).reshape(rows * side, cols * side), image_size)
    with_newlines = torch.nn.functional.pad(picture, (0, 1), value=newline)
    order = torch.cat([base, with_newlines.flatten()])
    return order, len(order)


def _without_padding(picture: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Cut off what resizing with kept proportions left empty: (h, w) patches to the middle part of them.

    As in LLaVA: the same whole number is cut on both sides, so one patch of padding may remain.
    """
    return unpad_image(picture[None], image_size)[0]


def unpad_image(tensor: torch.Tensor, original_size: Sequence[int]) -> torch.Tensor:
    """LLaVA's function: (C, h, w) -> (C, h', w'), without what lies around a picture of `original_size`."""
    height, width = tensor.shape[1:]
    image_width, image_height = original_size
    if image_width / image_height > width / height:
        cut = (height - int(image_height * (width / image_width))) // 2
        return tensor[:, cut : height - cut]
    cut = (width - int(image_width * (height / image_height))) // 2
    return tensor[:, :, cut : width - cut]


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


def unreduced_tokens(
    grids: list[tuple[int, int]], side: int, image_sizes: list[tuple[int, int]], unpad: bool
) -> tuple[torch.Tensor, list[int]]:
    """`unreduced_order` of several images.

    Args:
        grids: rows and columns of each image's tiles, as `grid_of` gives them.

    Returns:
        (total,) int64 indices into the patches of all views of all images, one after the other, their number standing
        for the newline token; and the number of tokens of each image.
    """
    patches = side * side
    firsts = _first_views(grids)
    orders, lengths = [], []
    for first, (rows, cols), size in zip(firsts, grids, image_sizes):
        order, length = unreduced_order(rows, cols, side, tuple(size), unpad)
        own_newline = (1 + rows * cols) * patches
        orders.append(torch.where(order == own_newline, firsts[-1] * patches, order + first * patches))
        lengths.append(length)
    return torch.cat(orders), lengths


def reduced_tokens(
    selection: Selection, per_view: int, grids: list[tuple[int, int]], side: int
) -> tuple[torch.Tensor, list[int]]:
    """`reduced_order` of several images, of which those of the same grid are put in order together.

    Args:
        selection: what was kept of all views of all images, one after the other.
        per_view: tokens of each view.

    Returns:
        (total,) int64 indices into the tokens of all views; and the number of tokens of each image.
    """
    kept, firsts = selection.kept, _first_views(grids)
    contextual = per_view - int(selection.keeps_cls) - kept.shape[1]
    pieces: list[torch.Tensor] = [kept] * len(grids)
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, grid in enumerate(grids):
        alike[grid].append(number)
    for (rows, cols), numbers in alike.items():
        chosen = torch.tensor([firsts[number] for number in numbers], device=kept.device)
        members = chosen[:, None] + torch.arange(1 + rows * cols, device=kept.device)
        order = reduced_order(kept[members], selection.keeps_cls, contextual, rows, max(cols, 1), side)
        for number, own in zip(numbers, order + chosen[:, None] * per_view):
            pieces[number] = own
    return torch.cat(pieces), [len(piece) for piece in pieces]


def _first_views(grids: list[tuple[int, int]]) -> list[int]:
    """The number of each image's base view among the views of all images, and the number of views."""
    return [0, *itertools.accumulate(1 + rows * cols for rows, cols in grids)]


def grid_of(views: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles of an image of `views` views whose grid is `shape` (columns, rows).

    Raises:
        InputError: when the views are not the base view and one per tile.
    """
    cols, rows = shape
    if views == 1:
        return 0, 0
    if views != 1 + rows * cols:
        raise InputError(
            f"an anyres image needs a base view and one view per tile: got {views} views, expected {1 + rows * cols} "
            f"for its size; prepare it with llava.mm_utils.process_images and pass its image_sizes"
        )
    return rows, cols
