"""Pinpoints: the grids of tiles that a configuration lets `anyres` choose from, and the choice for one picture.

A pinpoint is (width, height) in pixels, a whole number of tiles. Sizes are (width, height) pixels everywhere.
"""

import ast
import itertools
import re
from collections.abc import Sequence
from typing import Any

from llava.errors import InputError, shown
from llava.files.pictures import MOST_PIXELS

Size = tuple[int, int]
Pinpoints = str | Sequence[Sequence[int]] | None  # as configurations hold them; None: the key is absent

# "(1x1),...,(6x6)" of LLaVA-NeXT's training: every grid between the first and the last, counted in tiles.
RANGE = re.compile(r"\s*\((\d{1,4})x(\d{1,4})\)\s*,\s*\.\.\.\s*,\s*\((\d{1,4})x(\d{1,4})\)\s*")
PAIRS = re.compile(r"[\[\](),\s\d]{1,20000}")


def parse_pinpoints(grid_pinpoints: Pinpoints, patch_size: int) -> list[Size]:
    """Return the pinpoints as (width, height) pairs.

    Args:
        grid_pinpoints: a list of pairs; a string that spells one, as LLaVA's training writes it; or LLaVA-NeXT's
            "(1x1),...,(6x6)", every grid from 1 x 1 to 6 x 6 tiles, those of one column first.
        patch_size: edge of a tile in pixels, 336 for the published checkpoints.
    Raises:
        InputError: it is none of these, is empty, or a pinpoint is not a whole number of tiles or too large.
    """
    pairs: Any = grid_pinpoints
    if isinstance(pairs, str):
        pairs = _grids_between(pairs, patch_size) if RANGE.fullmatch(pairs) else _spelt_out(pairs)
    if not isinstance(pairs, list | tuple) or not pairs or not all(map(_is_size, pairs)):
        raise InputError(
            f"image_grid_pinpoints must list [width, height] pairs: got {shown(grid_pinpoints)}, expected something "
            f"like [[336, 672], [672, 336]] or (1x1),...,(6x6); mend config.json"
        )
    for width, height in pairs:
        whole_tiles((width, height), patch_size)
    return [(width, height) for width, height in pairs]


def _spelt_out(text: str) -> Any:
    """The list that a string spells, of brackets and numbers only; None where it spells none."""
    if not PAIRS.fullmatch(text):
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _grids_between(text: str, patch_size: int) -> list[Size] | None:
    """The grids of a range; None where it holds none or more than a picture can have tiles."""
    match = RANGE.fullmatch(text)
    assert match is not None, text
    first_columns, first_rows, columns, rows = map(int, match.groups())
    if columns * rows * patch_size**2 > MOST_PIXELS or not first_columns or not first_rows:
        return None
    grids = itertools.product(range(first_columns, columns + 1), range(first_rows, rows + 1))
    return [(across * patch_size, down * patch_size) for across, down in grids]


def _is_size(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int and n > 0 for n in pair)


def whole_tiles(size: Sequence[int], edge: int) -> Size:
    """Return (columns, rows) of tiles; InputError when tiles of `edge` pixels do not fill `size` exactly."""
    if size[0] % edge or size[1] % edge or size[0] * size[1] > MOST_PIXELS:
        raise InputError(
            f"image_grid_pinpoints must be whole numbers of tiles: got {shown(size[0])} x {shown(size[1])} pixels, "
            f"expected multiples of the vision tower's {edge} of at most {MOST_PIXELS:,} pixels in all; mend "
            f"config.json or use the tower the checkpoint was trained with"
        )
    return size[0] // edge, size[1] // edge


def select_best_resolution(original_size: Sequence[int], possible_resolutions: Sequence[Sequence[int]]) -> Size:
    """Return the pinpoint (width, height) that shows most pixels of an image of `original_size` (width, height).

    What counts is the area the image covers there without being enlarged; then the smaller unused area; then the
    earlier place in the list.
    """
    width, height = original_size

    def merit(pinpoint: Sequence[int]) -> tuple[int, int]:
        wide, high = pinpoint
        scale = min(wide / width, high / height)
        shown_area = min(int(width * scale) * int(height * scale), width * height)
        return shown_area, shown_area - wide * high

    wide, high = max(possible_resolutions, key=merit)  # of equals, max returns the first
    return wide, high


def get_anyres_image_grid_shape(image_size: Sequence[int], grid_pinpoints: Pinpoints, patch_size: int) -> Size:
    """Return (columns, rows) of the tiles that an image of `image_size` (width, height) is cut into.

    Args:
        grid_pinpoints: as in the configuration, see `parse_pinpoints`.
        patch_size: edge of a tile in pixels, 336 for the published checkpoints.
    """
    return whole_tiles(select_best_resolution(image_size, parse_pinpoints(grid_pinpoints, patch_size)), patch_size)
