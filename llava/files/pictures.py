"""Opening pictures: from files and from base64 text, as RGB.

Only formats that benchmarks and cameras use are read. Others are refused, among them those for which Pillow starts
another program (EPS: Ghostscript).
"""

import base64
import io
import os
import re
import struct
from typing import Any

from PIL import Image

from llava.errors import InputError, one_line, shown
from llava.files.reading import check_regular

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # JPEG covers MPO, what cameras make of two views
# Pillow's own limit, for the picture itself and for the square it is padded to: 512 MiB of RGB.
MOST_PIXELS = 178_956_970
# The last bytes of a whole file.
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
# What Pillow raises on damaged files; found by feeding it cut and altered ones of 19 formats.
DECODING_ERRORS = (
    *(OSError, ValueError, SyntaxError, RuntimeError, EOFError, MemoryError, OverflowError),
    *(TypeError, KeyError, IndexError, struct.error, Image.DecompressionBombError),
)


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Return the image file as RGB with its pixels loaded; EXIF rotation is not applied, as in LLaVA.

    Raises:
        InputError: the file is missing, cut short, too large, or not an image of `FORMATS`; the message names it.
    """
    return _decoded(path, _label(path))


def check_image(path: str | os.PathLike[str], square: bool = False) -> None:
    """Refuse what `open_image` would, as far as the beginning and the end of the file show it.

    No pixel is read, but of a file that does not end as its format does: cut short, or with something behind it.

    Args:
        square: it will be padded to a square, which may be too large though the picture is not.
    """
    label = _label(path)
    head = _decoded(path, label, pixels=False)
    if square:
        check_size(*(max(head.size),) * 2, f"the square around {label}")
    if not _ends_well(path, head.format):
        _decoded(path, label)


def load_image_from_base64(image: str | bytes) -> Image.Image:
    """Return the RGB image whose file was encoded as base64 text (MMBench's tables); InputError as `open_image`."""
    try:
        file = io.BytesIO(base64.b64decode(image))
    except (ValueError, TypeError) as error:
        raise InputError(f"an image in a table must be base64 text: {error}; download the table again") from error
    return _decoded(file, "image in base64 text")


def image_from_bytes(content: bytes, label: str) -> Image.Image:
    """Return the RGB image of a file's content; InputError as `open_image`, naming it by `label`."""
    return _decoded(io.BytesIO(content), label)


def check_size(width: int, height: int, label: str) -> None:
    """Refuse a picture, or the square it would be padded to, of more than `MOST_PIXELS` pixels."""
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{label} must have at most {MOST_PIXELS:,} pixels: got {width} x {height}; make it smaller or cut it"
        )


def to_rgb(picture: Image.Image, label: str = "the image") -> Image.Image:
    """RGB of 8 bits, by dropping alpha; grey of 16 bits is scaled, where Pillow would turn all but the darkest white.

    Raises:
        InputError: for grey of 32 bits or floats, of which nothing says what is white.
    """
    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
    if sixteen:
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    else:
        _refuse_depth(picture, label)
    # What was multiplied by its alpha has no way to RGB of its own in Pillow.
    return picture.convert({"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)).convert("RGB")


def _refuse_depth(picture: Image.Image, label: str) -> None:
    if picture.mode in ("I", "F") and (picture.mode == "F" or picture.format not in ("PNG", "PPM")):
        raise InputError(
            f"{label} must have 8 or 16 bits per colour: it has 32 (mode {picture.mode}), of which nothing says what "
            f"is white; save it as 8-bit PNG"
        )


def refuse_address(path: str | bytes, what: str = "an image file") -> None:
    """Raise an InputError where a path that leads nowhere is an address or a picture written out as text."""
    text = os.fsdecode(path)
    scheme = re.match(r"(data:)|[A-Za-z][A-Za-z0-9+.-]+:/", text)
    if scheme is None:
        return
    if scheme[1]:
        raise InputError(
            f"{what} must be a path: got a data URL, {shown(text)}; give what follows its comma to "
            f"load_image_from_base64"
        )
    raise InputError(
        f"{what} must be a path: got an address (URL), {shown(text, 300)}; download it first, or open a picture "
        f"with llava.eval.run_llava.load_image"
    )


def _label(path: str | os.PathLike[str]) -> str:
    """How an error names a file; InputError where there is none."""
    label = f"image file {shown(os.fspath(path), 300)}"
    if not os.path.lexists(path):
        refuse_address(os.fspath(path))
        raise InputError(f"{label} does not exist; check the folder of images and the name in the questions")
    check_regular(path, "an image")
    return label


def _ends_well(path: str | os.PathLike[str], kind: str | None) -> bool:
    """Whether a file ends as a whole one of its format does; formats without an end mark are not known to."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 12, 0))
        end = file.read()
        file.seek(4)
        length = int.from_bytes(file.read(4), "little")
    if kind == "WEBP":
        return size >= length + 8
    mark = ENDS.get(kind or "")
    return mark is not None and end.rstrip(b"\0").endswith(mark)


def _decoded(source: Any, label: str, pixels: bool = True) -> Image.Image:
    try:
        with Image.open(source, formats=FORMATS) as picture:
            check_size(*picture.size, label)
            # Reads every pixel, so that a file cut short is found here.
            if pixels:
                return to_rgb(picture, label)
            _refuse_depth(picture, label)
            return picture
    except InputError:
        raise
    except Image.UnidentifiedImageError:
        raise InputError(
            f"{label} must be a complete image that Pillow reads as one of {', '.join(FORMATS)}: it is none; fetch or "
            f"convert it"
        ) from None
    except DECODING_ERRORS as error:
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{label} must be a complete image that Pillow reads: {reason}; fetch it again") from error
