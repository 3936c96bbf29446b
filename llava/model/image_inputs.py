"""The forms in which LLaVA takes images and their sizes, as one list each, in the order of the prompts' <image>.

Everything here is about counts and shapes: no pixel is read, nothing is asked of a device.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError, shown
from llava.model.image_entries import Sizes, as_views, read_entries, read_modalities, read_sizes


class Images(NamedTuple):
    """Images in the order of the prompts' <image>.

    Attributes:
        views: (v, 3, h, w) pixels of each image.
        sizes: (width, height) of each in pixels, None for a video; None: they were not given.
        modalities: of each, one of `image_entries.MODALITIES`; None: all are `image`.
    """

    views: list[torch.Tensor]
    sizes: Sizes | None
    modalities: list[str] | None

    def part(self, which: slice) -> "Images":
        """Some of them."""
        sizes = self.sizes[which] if self.sizes is not None else None
        return Images(self.views[which], sizes, self.modalities[which] if self.modalities is not None else None)

    @property
    def frames(self) -> int:
        """Of the longest video; 0 where there is none."""
        return max((len(view) for view, kind in zip(self.views, self.modalities or ()) if kind == "video"), default=0)


def sort_images(
    ids: torch.Tensor, images: Any, image_sizes: Any, mask: torch.Tensor | None = None, modalities: Any = None
) -> Images:
    """Images, their sizes and modalities, one for each <image> of the prompts.

    Args:
        ids: (B, L) int64, -200 where an image goes.
        images: a tensor (I, 3, h, w) or (I, v, 3, h, w), or a list of (3, h, w) or (v, 3, h, w); None: there are none.
            None in a list is passed over. LLaVA gives each prompt without <image> an image too, so that batches can be
            stacked: where there are as many entries as that makes, those are passed over.
        image_sizes: (width, height) of each entry in pixels; None: not known.
        mask: (B, L), 0 at padding; None: there is none.
        modalities: of the entries, see `llava.model.image_entries.read_modalities`.

    Raises:
        InputError: for images, sizes and modalities that do not match the prompts, or are none.
    """
    wanted = images_per_row(ids, mask)
    if images is None:
        if sum(wanted):
            raise mismatch(0, wanted)
        return Images([], None, None)
    listed = list_entries(images, image_sizes, modalities)
    if len(listed) != sum(wanted) and len(listed) == _with_fillers(wanted):
        listed = _without_fillers(listed, wanted)
    given = [entry for entry in listed if entry[0] is not None]
    if len(given) != sum(wanted):
        raise mismatch(len(given), wanted, any(kind == "video" for _, _, kind in listed))
    return _images(given, image_sizes is not None)


def list_images(images: Any, image_sizes: Any, modalities: Any) -> Images:
    """The same without prompts: entries that are None are passed over."""
    given = [entry for entry in list_entries(images, image_sizes, modalities) if entry[0] is not None]
    return _images(given, image_sizes is not None)


def longest_video(images: Any, modalities: Any) -> int:
    """Frames of the longest video; 0 where there is none; InputError for what are no images."""
    if images is None or not modalities:
        return 0
    return list_images(images, None, modalities).frames


def list_entries(images: Any, image_sizes: Any, modalities: Any) -> list[tuple[Any, tuple[int, int] | None, str]]:
    """(pixels or None, size or None, modality) of each entry, as they were given."""
    entries = read_entries(images)
    kinds = read_modalities(modalities, entries)
    if isinstance(images, torch.Tensor) and images.ndim == 4:
        kinds = ["view" if kind == "image" else kind for kind in kinds]
    sizes: Sizes = [None] * len(entries)
    if image_sizes is not None and not all(kind == "video" for kind in kinds):
        sizes = read_sizes(image_sizes, [None if kind == "video" else entry for entry, kind in zip(entries, kinds)])
    return list(zip(entries, sizes, kinds))


def _images(given: list[tuple[Any, tuple[int, int] | None, str]], sized: bool) -> Images:
    kinds = [kind for _, _, kind in given]
    return Images(
        [as_views(entry) for entry, _, _ in given],
        [size for _, size, _ in given] if sized else None,
        kinds if set(kinds) - {"image"} else None,
    )


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


def mismatch(images: int, wanted: Sequence[int], video: bool = False) -> InputError:
    """What to say where there are not as many images as <image> tokens.

    Args:
        wanted: how many each prompt has.
        video: one of the images is a video.
    """
    several = next((row for row, count in enumerate(wanted) if count > 1), None)
    hint = (
        "" if several is None else f" (row {several} has {wanted[several]}; the text <image> in a question is one too)"
    )
    rows = f", {shown(list(wanted))} in rows 0 to {len(wanted) - 1}" if len(wanted) > 1 else ""
    hint += "; the frames of a video are one image, images=[frames]" if video else ""
    return InputError(
        f"prompts and images must match: got {images} images, expected {sum(wanted)}, one per <image>{rows}{hint}; add "
        f"or remove images or <image> tokens"
    )


def _without_fillers(pairs: list[Any], wanted: Sequence[int]) -> list[Any]:
    """Without the image that LLaVA gives each prompt that names none."""
    kept, at = [], 0
    for count in wanted:
        kept += pairs[at : at + count]
        at += max(1, count)
    return kept
