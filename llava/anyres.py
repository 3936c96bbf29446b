"""`image_aspect_ratio = "anyres"` (LLaVA-1.6): one image seen whole and again as tiles of a finer grid.

The configuration lists grids as pinpoints, (width, height) in pixels, each a whole number of tiles. The image goes to
the pinpoint that keeps most of it, is centred there on black and cut into tiles. Sizes are (width, height) pixels
everywhere. Every rounding below is LLaVA's: another order of the same operations moves the image by a pixel.
"""

import ast
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from PIL import Image

from llava.errors import InputError

Size = tuple[int, int]
Pinpoints = str | Sequence[Sequence[int]] | None  # as configurations hold them; None: the key is absent


class ImageProcessor(Protocol):
    """What is used of transformers' CLIP image processor."""

    image_mean: Any
    crop_size: Any
    size: Any

    def preprocess(self, images: Any, *, return_tensors: Any) -> Any:
        """Return a mapping whose "pixel_values" are (images, 3, height, width), float32."""


def parse_pinpoints(grid_pinpoints: Pinpoints) -> list[Size]:
    """Return the pinpoints as (width, height) pairs.

    Args:
        grid_pinpoints: a list of pairs, or a string that spells one, as old configurations hold it.
    Raises:
        InputError: it is neither, is empty, or a pair is not two positive whole numbers.
    """
    pairs: Any = grid_pinpoints
    if isinstance(pairs, str):
        try:
            pairs = ast.literal_eval(pairs)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pairs = None
    if not isinstance(pairs, list | tuple) or not pairs or not all(map(_is_size, pairs)):
        raise InputError(
            f"image_grid_pinpoints must list [width, height] pairs: got {grid_pinpoints!r}, expected something like"
            " [[336, 672], [672, 336]]; mend config.json"
        )
    return [(width, height) for width, height in pairs]


def _is_size(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(n, int) and n > 0 for n in pair)


def select_best_resolution(original_size: Sequence[int], possible_resolutions: Sequence[Sequence[int]]) -> Size:
    """Return the pinpoint (width, height) that shows most pixels of an image of `original_size` (width, height).

    What counts is the area the image covers there without being enlarged; then the smaller unused area; then the
    earlier place in the list.
    """
    width, height = original_size

    def merit(pinpoint: Sequence[int]) -> tuple[int, int]:
        wide, high = pinpoint
        scale = min(wide / width, high / height)
        shown = min(int(width * scale) * int(height * scale), width * height)
        return shown, shown - wide * high

    wide, high = max(possible_resolutions, key=merit)  # of equals, max returns the first
    return wide, high


def resize_and_pad_image(image: Image.Image, target_resolution: Sequence[int]) -> Image.Image:
    """Return an RGB image of `target_resolution` (width, height): `image` as large as fits, centred on black."""
    wide, high = target_resolution
    across, down = wide / image.width, high / image.height
    if across < down:
        fitted = (wide, min(high, math.ceil(image.height * across)))
    else:
        fitted = (min(wide, math.ceil(image.width * down)), high)
    canvas = Image.new("RGB", (wide, high))
    canvas.paste(image.resize(fitted), ((wide - fitted[0]) // 2, (high - fitted[1]) // 2))
    return canvas


def _whole_tiles(size: Sequence[int], edge: int) -> Size:
    """Return (columns, rows) of tiles; InputError when tiles of `edge` pixels do not fill `size` exactly."""
    if size[0] % edge or size[1] % edge:
        raise InputError(
            f"image_grid_pinpoints must be whole numbers of tiles: got {size[0]} x {size[1]} pixels, expected multiples"
            f" of the vision tower's {edge}; mend config.json or use the tower the checkpoint was trained with"
        )
    return size[0] // edge, size[1] // edge


def divide_to_patches(image: Image.Image, patch_size: int) -> list[Image.Image]:
    """Cut `image` into square tiles of `patch_size` pixels, row by row; InputError when they do not fill it."""
    columns, rows = _whole_tiles(image.size, patch_size)
    corners = [(column * patch_size, row * patch_size) for row in range(rows) for column in range(columns)]
    return [image.crop((left, top, left + patch_size, top + patch_size)) for left, top in corners]


def get_anyres_image_grid_shape(image_size: Sequence[int], grid_pinpoints: Pinpoints, patch_size: int) -> Size:
    """Return (columns, rows) of the tiles that an image of `image_size` (width, height) is cut into.

    Args:
        grid_pinpoints: as in the configuration, see `parse_pinpoints`.
        patch_size: edge of a tile in pixels, 336 for the published checkpoints.
    """
    return _whole_tiles(select_best_resolution(image_size, parse_pinpoints(grid_pinpoints)), patch_size)


def process_anyres_image(image: Image.Image, processor: ImageProcessor, grid_pinpoints: Pinpoints) -> torch.Tensor:
    """Return the views of an RGB image, (1 + tiles, 3, edge, edge) float32: first the whole, then tiles row by row.

    The whole is squeezed to a square: unlike the tiles it does not keep the image's proportions.

    Raises:
        InputError: the pinpoints cannot be read or are not whole numbers of tiles.
    """
    best = select_best_resolution(image.size, parse_pinpoints(grid_pinpoints))
    tiles = divide_to_patches(resize_and_pad_image(image, best), processor.crop_size["height"])
    edge = processor.size["shortest_edge"]
    return processor.preprocess([image.resize((edge, edge)), *tiles], return_tensors="pt")["pixel_values"]
