"""What a LLaVA configuration says about pictures, read in one place: what is not known is refused, never guessed.

A key that is read as something else than it says changes pixels or tokens without a word: an unknown
`image_aspect_ratio` would be a crop of the centre, an unknown `mm_patch_merge_type` another order of the tiles.
"""

from collections.abc import Sequence
from typing import Any

from llava.errors import InputError, shown
from llava.pinpoints import parse_pinpoints

ASPECT_RATIOS = (None, "square", "pad", "anyres")  # None and square: the processor alone, which crops the centre
MERGE_TYPES = ("flat", "spatial", "spatial_unpad")
FEATURES = ("patch", "cls_patch")


def aspect_ratio(config: object) -> str | None:
    """How pictures are made to fit: one of `ASPECT_RATIOS`.

    Raises:
        InputError: for another; LLaVA-NeXT's `anyres_max_9`, `highres` and `crop_split` are not built here.
    """
    return _known(config, "image_aspect_ratio", ASPECT_RATIOS, None)


def patch_merge_type(config: object) -> str:
    """How the views of a picture become its tokens: one of `MERGE_TYPES`, `flat` where the key is absent.

    Raises:
        InputError: for another.
    """
    return _known(config, "mm_patch_merge_type", MERGE_TYPES, "flat")


def select_feature(config: object) -> str:
    """Which tokens leave the vision encoder: one of `FEATURES`, `patch` where the key is absent; InputError else."""
    return _known(config, "mm_vision_select_feature", FEATURES, "patch")


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
    if aspect_ratio(config) != "anyres":
        return []
    pinpoints = parse_pinpoints(getattr(config, "image_grid_pinpoints", None), edge)
    return [(width // edge, height // edge) for width, height in pinpoints]


def most_views(config: object, edge: int) -> int:
    """The most views a picture can have: 1, or 1 + the tiles of the largest grid."""
    return 1 + max((columns * rows for columns, rows in grids(config, edge)), default=0)


def most_tokens(config: object, edge: int, side: int) -> int:
    """The most tokens a picture can have where nothing is dropped, [CLS] and LLaVA-NeXT's newlines counted.

    Args:
        edge: the vision tower's `image_size` in pixels.
        side: patches along one side of a view.
    """
    per_view = side * side + int(select_feature(config) == "cls_patch")
    possible: Sequence[tuple[int, int]] = grids(config, edge)
    newlines = patch_merge_type(config) == "spatial_unpad"
    if not possible:
        return per_view + int(newlines)
    return max((1 + columns * rows) * per_view + newlines * rows * side for columns, rows in possible)


def check_image_config(config: object, image_size: int, hidden_size: int) -> None:
    """Refuse settings about pictures that are not known, or fit neither each other nor the tower.

    Args:
        image_size: edge of a view in pixels, as the vision tower takes it.
        hidden_size: width of the vision tower's features.
    """
    check_merge(patch_merge_type(config), select_feature(config))
    grids(config, image_size)
    max_length(config)
    width = getattr(config, "mm_hidden_size", None)
    if width is not None and width != hidden_size:
        raise InputError(
            f"mm_hidden_size must be the width of the vision tower: got {shown(width)}, expected {hidden_size}; mend "
            f"config.json or use the tower the checkpoint was trained with"
        )


def check_merge(merge: str, feature: str) -> None:
    """Refuse [CLS] where patches are laid out as a picture (LLaVA asserts that it is not there)."""
    if feature == "cls_patch" and merge != "flat":
        raise InputError(
            f"mm_patch_merge_type '{merge}' lays patches out as a picture, in which [CLS] has no place: got "
            f"mm_vision_select_feature 'cls_patch'; use 'patch', or mm_patch_merge_type 'flat'"
        )


def _known(config: object, key: str, known: tuple[Any, ...], absent: Any) -> Any:
    """A setting that is one of `known`; InputError for another."""
    value = getattr(config, key, None)
    if value is None:
        return absent
    if value not in known:
        named = ", ".join(str(name) for name in known if name is not None)
        raise InputError(
            f"{key} must be known: got {shown(value)}, expected one of {named}; mend config.json or use another "
            f"checkpoint"
        )
    return value
