"""The forms in which LLaVA takes images and their sizes, as one list each, in the order of the prompts' <image>.

Everything here is about counts and shapes: no pixel is read, nothing is asked of a device.
"""

from collections.abc import Sequence
from typing import Any

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError, shown

Sizes = list[tuple[int, int]]


def sort_images(
    ids: torch.Tensor, images: Any, image_sizes: Any, mask: torch.Tensor | None = None
) -> tuple[list[torch.Tensor], Sizes | None]:
    """Images as a list of (views, 3, h, w) tensors and their sizes, one for each <image> of the prompts.

    Args:
        ids: (B, L) int64, -200 where an image goes.
        images: a tensor (I, 3, h, w) or (I, v, 3, h, w), or a list of (3, h, w) or (v, 3, h, w); None: there are none.
            None in a list is passed over. LLaVA gives each prompt without <image> an image too, so that batches can be
            stacked: where there are as many entries as that makes, those are passed over.
        image_sizes: (width, height) of each entry in pixels; None: not known.
        mask: (B, L), 0 at padding; None: there is none.

    Raises:
        InputError: for images and sizes that do not match the prompts, or are none.
    """
    wanted = images_per_row(ids, mask)
    if images is None:
        if sum(wanted):
            raise mismatch(0, wanted)
        return [], None
    entries = _entries(images)
    sizes = read_sizes(image_sizes, entries) if image_sizes is not None else [None] * len(entries)
    pairs = list(zip(entries, sizes, strict=True))
    if len(pairs) != sum(wanted) and len(pairs) == _with_fillers(wanted):
        pairs = _without_fillers(pairs, wanted)
    given = [(entry, size) for entry, size in pairs if entry is not None]
    if len(given) != sum(wanted):
        raise mismatch(len(given), wanted)
    views = [_views(entry) for entry, _ in given]
    return views, [size for _, size in given if size is not None] if image_sizes is not None else None


def images_per_row(ids: torch.Tensor, mask: torch.Tensor | None = None) -> list[int]:
    """How many images each prompt of (B, L) ids names, outside its padding."""
    is_image = ids == IMAGE_TOKEN_INDEX
    return (is_image if mask is None else is_image & mask.bool()).sum(dim=1).tolist()


def one_for_each(images: Any, wanted: Sequence[int]) -> bool:
    """Whether there are as many images as prompts name, LLaVA's fillers counted where they are."""
    given = sum(image is not None for image in images)
    return given == sum(wanted) or len(images) == _with_fillers(wanted)


def _with_fillers(wanted: Sequence[int]) -> int:
    """How many images there are where each prompt that names none is given one too."""
    return sum(max(1, count) for count in wanted)


def mismatch(images: int, wanted: Sequence[int]) -> InputError:
    """What to say where there are not as many images as <image> tokens; `wanted`: how many each prompt has."""
    several = next((row for row, count in enumerate(wanted) if count > 1), None)
    hint = (
        "" if several is None else f" (row {several} has {wanted[several]}; the text <image> in a question is one too)"
    )
    rows = f", {shown(list(wanted))} in rows 0 to {len(wanted) - 1}" if len(wanted) > 1 else ""
    return InputError(
        f"prompts and images must match: got {images} images, expected {sum(wanted)}, one per <image>{rows}{hint}; add "
        f"or remove images or <image> tokens"
    )


def read_sizes(image_sizes: Any, entries: Sequence[Any]) -> list[tuple[int, int] | None]:
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


def _entries(images: Any) -> list[Any]:
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


def _views(entry: torch.Tensor) -> torch.Tensor:
    return entry if entry.ndim == 4 else entry[None]


def _without_fillers(pairs: list[Any], wanted: Sequence[int]) -> list[Any]:
    """Without the image that LLaVA gives each prompt that names none."""
    kept, at = [], 0
    for count in wanted:
        kept += pairs[at : at + count]
        at += max(1, count)
    return kept
