"""The pictures of a conversation as a chat page sends and shows them: squared or resized, not too large, in base64."""

import base64
import io

from PIL import Image

from llava.errors import InputError, shown
from llava.files.pictures import to_rgb

MODES = ("Default", "Crop", "Pad", "Resize")  # the choices of LLaVA's page; Default and Crop leave the picture alone
MEAN_COLOUR = (122, 116, 104)  # CLIP's mean, 0..255: what LLaVA pads with
RESIZED = (336, 336)


def arranged(image: Image.Image, mode: str) -> Image.Image:
    """The picture as a mode of the page wants it.

    Raises:
        InputError: the mode is none of MODES.
    """
    if mode not in MODES:
        raise InputError(f"image_process_mode must be one of {', '.join(MODES)}: got {shown(mode)}; choose one")
    if mode == "Resize":
        return image.resize(RESIZED)
    if mode != "Pad" or image.width == image.height:
        return image
    from llava.mm_utils import expand2square  # torch comes with it, which a page without pictures does not need

    return expand2square(to_rgb(image), MEAN_COLOUR)


def within(image: Image.Image, max_len: int, min_len: int) -> Image.Image:
    """The picture, made smaller in proportion where its longer side has more than `max_len` pixels.

    The shorter side then has at most `min_len` pixels, which for a nearly square picture leaves the longer one below
    `max_len`; both are rounded down, to no less than 1.
    """
    longer, shorter = max(image.size), min(image.size)
    if longer <= max_len:
        return image
    proportion = longer / shorter
    short = int(min(max_len / proportion, min_len, shorter))
    long = int(short * proportion)
    if short < 1:
        short, long = 1, max_len
    return image.resize((short, long) if image.height > image.width else (long, short))


def in_base64(image: Image.Image, image_format: str) -> str:
    """The picture's file in a format of Pillow's (`PNG`, `JPEG`), as base64 text."""
    if image_format.upper() in ("JPEG", "JPG"):
        image = to_rgb(image)  # JPEG has no transparency and no palette
    file = io.BytesIO()
    image.save(file, format=image_format)
    return base64.b64encode(file.getvalue()).decode()
