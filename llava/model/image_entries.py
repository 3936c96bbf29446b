"""Images, sizes and modalities as programs pass them, one entry each: what is none of them is refused in one line."""

from collections.abc import Sequence
from typing import Any

import torch

from llava.errors import InputError, shown

Sizes = list[tuple[int, int] | None]

MODALITIES = ("image", "view", "video")
"""`image`: a picture, of one view or of a base view and tiles. `view`: a picture of one view without the newline token,
as LLaVA takes those that come stacked, (I, 3, h, w). `video`: every view is a frame."""


def read_modalities(modalities: Any, entries: Sequence[Any]) -> list[str]:
    """The modality of each entry, in whatever form they come.

    Args:
        modalities: LLaVA-NeXT's argument: one name or a list of them, in the order of the entries; those that it does
            not name are pictures. `text`, of an entry that belongs to a prompt without <image>, is as `image`.

    Raises:
        InputError: for a name that is not known, a video that has no entry, or a `view` of several views.
    """
    named = [modalities] if isinstance(modalities, str) else [] if modalities is None else modalities
    if not isinstance(named, list | tuple) or not all(name in (*MODALITIES, "text") for name in named):
        raise InputError(
            f"modalities must be known: got {shown(modalities)}, expected a list of {', '.join(MODALITIES)}, one for "
            f"each entry of images; leave it out for pictures"
        )
    if "video" in named[len(entries) :]:
        raise InputError(
            f"modalities name the entries of images: got a video at place {len(entries) + 1} or later, of "
            f"{len(entries)} entries; give the frames of a video as one entry, images=[frames]"
        )
    kinds = ["image" if name == "text" else name for name in named[: len(entries)]]
    kinds += ["image"] * (len(entries) - len(kinds))
    for entry, kind in zip(entries, kinds):
        if kind == "view" and entry is not None and entry.ndim == 4 and len(entry) != 1:
            raise InputError(f"an image of modality 'view' has one view: got {len(entry)}; leave its modality out")
    return kinds


def read_sizes(image_sizes: Any, entries: Sequence[Any]) -> Sizes:
    """Sizes in whatever form they come (tensor, array, lists) as (width, height) of whole numbers, one for each entry.

    The size of an entry that is None may be None.

    Raises:
        InputError: for another number of sizes, or what is no size of a picture.
    """
    listed = image_sizes.tolist() if hasattr(image_sizes, "tolist") else image_sizes
    if not isinstance(listed, list | tuple) or len(listed) != len(entries):
        got = len(listed) if isinstance(listed, list | tuple) else shown(listed)
        raise InputError(
            f"image_sizes must name every image: got {got}, expected {len(entries)} (width, height) pairs; write "
            f"[image.size] for one image"
        )
    return [None if size is None and entry is None else _size(size) for size, entry in zip(listed, entries)]


def _size(given: Any) -> tuple[int, int]:
    pair = given.tolist() if hasattr(given, "tolist") else given
    numbers = [_whole(number) for number in pair] if isinstance(pair, list | tuple) else []
    if len(numbers) != 2 or not all(number > 0 for number in numbers):
        raise InputError(
            f"an image size must be (width, height) in whole pixels of at least 1: got {shown(pair)}; pass the size "
            f"of the picture before process_images, image.size"
        )
    return numbers[0], numbers[1]


def _whole(number: Any) -> int:
    """A whole number as int; 0, which no size is, for anything else."""
    value = number.tolist() if hasattr(number, "tolist") else number
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return 0
    return int(value)


def read_entries(images: Any) -> list[Any]:
    """The images one by one: (3, h, w) or (v, 3, h, w) tensors or None."""
    stacked = isinstance(images, torch.Tensor)
    if images.ndim not in (4, 5) if stacked else not isinstance(images, list | tuple):
        kind = tuple(images.shape) if stacked else f"a {type(images).__name__}"
        raise InputError(
            f"images must be a tensor (images, 3, height, width) or (images, views, 3, height, width), or a list of "
            f"tensors: got {kind}; prepare them with llava.mm_utils.process_images"
        )
    entries = list(images)
    for entry in entries:
        _check_image(entry)
    return entries


def _check_image(entry: Any) -> None:
    if entry is None:
        return
    if not isinstance(entry, torch.Tensor):
        problem = f"a {type(entry).__name__}"
    elif entry.ndim not in (3, 4) or entry.shape[-3] != 3 or 0 in entry.shape:
        problem = str(tuple(entry.shape))
    elif not entry.is_floating_point():
        problem = f"numbers of {entry.dtype}, which are not normalised"
    else:
        return
    raise InputError(
        f"an image must be (3, height, width) or (views, 3, height, width), of floating-point numbers: got {problem}; "
        f"prepare it with llava.mm_utils.process_images"
    )


def as_views(entry: torch.Tensor) -> torch.Tensor:
    """(3, h, w) or (v, 3, h, w) -> (v, 3, h, w)."""
    return entry if entry.ndim == 4 else entry[None]
