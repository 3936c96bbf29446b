"""What a LLaVA configuration says about pictures, read in one place: what is not known is refused, never guessed.

A key that is read as something else than it says changes pixels or tokens without a word: an unknown
`image_aspect_ratio` would be a crop of the centre, an unknown `mm_patch_merge_type` another order of the tiles.
"""

import re
from collections.abc import Sequence
from typing import Any

from llava.errors import InputError, shown
from llava.merge_config import merge_of, most_of_grid, patch_merge_type
from llava.pinpoints import parse_pinpoints

# Of `anyres_max_N`, N is the number of views whose patches the tiles of a picture may have.
ASPECT_RATIOS = ("square", "crop", "pad", "anyres")  # square and crop: the processor alone, which crops the centre
NOT_BUILT = ("highres", "crop_split")
ANYRES_MAX = re.compile(r"anyres_max_([1-9][0-9]{0,3})")
FEATURES = ("patch", "cls_patch")


def aspect_ratio(config: object) -> str | None:
    """How pictures are made to fit: one of `ASPECT_RATIOS`, `anyres_max_N`, or None, which is as `square`.

    Raises:
        InputError: for another; LLaVA-NeXT's `highres` and `crop_split` are not built here.
    """
    value: Any = getattr(config, "image_aspect_ratio", None)
    if value is None or value in ASPECT_RATIOS or (isinstance(value, str) and ANYRES_MAX.fullmatch(value)):
        return value
    if value in NOT_BUILT:
        raise InputError(
            f"image_aspect_ratio '{value}' of LLaVA-NeXT's training is not built here, and no published checkpoint "
            f"needs it: use one with pad, anyres or anyres_max_N"
        )
    raise InputError(
        f"image_aspect_ratio must be known: got {shown(value)}, expected one of {', '.join(ASPECT_RATIOS)}, or "
        f"anyres_max_N with a number N such as anyres_max_9; mend config.json or use another checkpoint"
    )


def has_tiles(config: object) -> bool:
    """True where a picture is seen whole and in tiles: `anyres` and `anyres_max_N`; InputError as `aspect_ratio`."""
    return (aspect_ratio(config) or "").startswith("anyres")


def most_tiles(config: object) -> int | None:
    """N of `anyres_max_N`; None for any other aspect ratio; InputError as `aspect_ratio`."""
    match = ANYRES_MAX.fullmatch(aspect_ratio(config) or "")
    return int(match[1]) if match else None


def select_feature(config: object) -> str:
    """Which tokens leave the vision encoder: one of `FEATURES`, `patch` where the key is absent; InputError else."""
    value: Any = getattr(config, "mm_vision_select_feature", None)
    if value is None:
        return "patch"
    if value not in FEATURES:
        raise InputError(
            f"mm_vision_select_feature must be known: got {shown(value)}, expected one of {', '.join(FEATURES)}; mend "
            f"config.json or use another checkpoint"
        )
    return value


def max_length(config: object) -> int | None:
    """`tokenizer_model_max_length`, at which LLaVA cuts prompts with their image tokens; None: they are not cut."""
    longest: Any = getattr(config, "tokenizer_model_max_length", None)
    if longest is None:
        return None
    if isinstance(longest, float) and longest.is_integer():  # transformers' "no limit" is 1e30
        longest = int(longest)
    if type(longest) is not int or longest < 1:
        raise InputError(
            f"tokenizer_model_max_length must be a whole number of at least 1: got {shown(longest)}; mend config.json"
        )
    return longest


def grids(config: object, edge: int) -> list[tuple[int, int]]:
    """(columns, rows) of every grid of tiles that a picture may be cut into; none where pictures are one view.

    Args:
        edge: of a tile in pixels: the vision tower's `image_size`.
    Raises:
        InputError: for pinpoints that cannot be read or are no whole numbers of tiles.
    """
    if not has_tiles(config):
        return []
    pinpoints = parse_pinpoints(getattr(config, "image_grid_pinpoints", None), edge)
    return [(width // edge, height // edge) for width, height in pinpoints]


def most_views(config: object, edge: int) -> int:
    """The most views a picture can have: 1, or 1 + the tiles of the largest grid."""
    return 1 + max((columns * rows for columns, rows in grids(config, edge)), default=0)


def most_tokens(config: object, edge: int, side: int) -> int:
    """The most tokens a picture can have where nothing is dropped, [CLS] and newlines counted; see `most_of_parts`."""
    return sum(most_of_parts(config, edge, side))


def most_of_parts(config: object, edge: int, side: int) -> tuple[int, int, int]:
    """The same by parts: tokens of the base view and of the tiles, [CLS] counted, and LLaVA-NeXT's newlines.

    Args:
        edge: the vision tower's `image_size` in pixels.
        side: patches along one side of a view.
    """
    per_view = side * side + int(select_feature(config) == "cls_patch")
    possible: Sequence[tuple[int, int]] = grids(config, edge)
    merge, limit = merge_of(config), most_tiles(config)
    if not possible:
        return per_view, 0, int(merge.unpad)
    if not merge.spatial:
        return per_view, max(columns * rows for columns, rows in possible) * per_view, 0
    return max((most_of_grid(columns, rows, side, merge, limit) for columns, rows in possible), key=sum)


def check_image_config(config: object, image_size: int, hidden_size: int) -> None:
    """Refuse settings about pictures that are not known, or fit neither each other nor the tower.

    Args:
        image_size: edge of a view in pixels, as the vision tower takes it.
        hidden_size: width of the vision tower's features.
    """
    patch_merge_type(config), select_feature(config)
    if grids(config, image_size):
        check_tiles(config)
    max_length(config)
    width = getattr(config, "mm_hidden_size", None)
    if width is not None and width != hidden_size:
        raise InputError(
            f"mm_hidden_size must be the width of the vision tower: got {shown(width)}, expected {hidden_size}; mend "
            f"config.json or use the tower the checkpoint was trained with"
        )


def check_tiles(config: object) -> None:
    """Refuse [CLS] where the patches of tiles are laid out as a picture (LLaVA asserts that it is not there)."""
    merge = patch_merge_type(config)
    if select_feature(config) == "cls_patch" and merge != "flat":
        raise InputError(
            f"mm_patch_merge_type '{merge}' lays the patches of tiles out as a picture, in which [CLS] has no place: "
            f"got mm_vision_select_feature 'cls_patch'; use 'patch', or mm_patch_merge_type 'flat'"
        )
