"""`image_aspect_ratio = "anyres"` (LLaVA-1.6): one image seen whole and again as tiles of a finer grid.

The image goes to the pinpoint (see `llava.pinpoints`) that keeps most of it, is centred there on black and cut into
tiles. Sizes are (width, height) pixels everywhere. Every rounding below is LLaVA's: another order of the same
operations moves the image by a pixel.
"""

import math
from collections.abc import Sequence

import torch
from PIL import Image

from llava.files.pictures import to_rgb
from llava.image_processor import ImageProcessor, resized_edge, view_edge
from llava.pinpoints import Pinpoints, parse_pinpoints, select_best_resolution, whole_tiles


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


def divide_to_patches(image: Image.Image, patch_size: int) -> list[Image.Image]:
    """Cut `image` into square tiles of `patch_size` pixels, row by row; InputError when they do not fill it."""
    columns, rows = whole_tiles(image.size, patch_size)
    corners = [(column * patch_size, row * patch_size) for row in range(rows) for column in range(columns)]
    return [image.crop((left, top, left + patch_size, top + patch_size)) for left, top in corners]


def process_anyres_image(image: Image.Image, processor: ImageProcessor, grid_pinpoints: Pinpoints) -> torch.Tensor:
    """Return the views of an image, (1 + tiles, 3, edge, edge) float32: first the whole, then tiles row by row.

    The whole is squeezed to a square: unlike the tiles it does not keep the image's proportions.

    Raises:
        InputError: the pinpoints cannot be read or are not whole numbers of tiles.
    """
    picture = image if image.mode == "RGB" else to_rgb(image)
    tile, edge = view_edge(processor), resized_edge(processor)
    best = select_best_resolution(picture.size, parse_pinpoints(grid_pinpoints, tile))
    tiles = divide_to_patches(resize_and_pad_image(picture, best), tile)
    return processor.preprocess([picture.resize((edge, edge)), *tiles], return_tensors="pt")["pixel_values"]
