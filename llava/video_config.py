"""What a configuration says about videos: how frames are pooled, and where LLaVA-NeXT's newline token goes.

LLaVA-NeXT sees every frame of a video as one view, makes two by two of its patches one after the projector, and puts
the frames one after the other. Its code does not read `mm_spatial_pool_stride`: it always pools by 2.
"""

import warnings
from typing import Any

from llava.errors import InputError, shown
from llava.image_config import select_feature
from llava.merge_config import merge_of

STRIDE = 2
POOL_MODES = ("average", "max", "bilinear")
NEWLINE_POSITIONS = ("one_token", "no_token", "frame", "grid")


def pool_mode(config: object) -> str:
    """`mm_spatial_pool_mode`: one of `POOL_MODES`, `average` where the key is absent; InputError for another."""
    return _one_of(config, "mm_spatial_pool_mode", POOL_MODES)


def newline_position(config: object) -> str:
    """`mm_newline_position`: one of `NEWLINE_POSITIONS`, `one_token` where the key is absent.

    One token after the video, and that only where pictures have newlines too (`unpad`); none; one after every frame;
    or one after every row of every frame.

    Raises:
        InputError: for another, or one that needs the newline token in a model that has none.
    """
    position = _one_of(config, "mm_newline_position", NEWLINE_POSITIONS)
    merge = merge_of(config)
    if position in ("frame", "grid") and merge.spatial and not merge.unpad:
        raise InputError(
            f"mm_newline_position '{position}' needs the newline token, which a model has with mm_patch_merge_type "
            f"spatial_unpad alone: got {shown(getattr(config, 'mm_patch_merge_type', None))}; take no_token"
        )
    return position


def check_video_config(config: object) -> None:
    """Refuse settings about videos that are not known; say which one LLaVA-NeXT would not have read.

    Called where there is a video: what these keys say matters to no picture.
    """
    pool_mode(config)
    newline_position(config)
    if select_feature(config) == "cls_patch":
        raise InputError(
            "frames of a video are pooled as pictures, in which [CLS] has no place: got mm_vision_select_feature "
            "'cls_patch'; use a checkpoint with 'patch'"
        )
    if getattr(config, "add_faster_video", False):
        raise InputError(
            "videos of two frame rates at once are not built here: config.json has add_faster_video true; set it to "
            "false, or use another checkpoint"
        )
    stride = getattr(config, "mm_spatial_pool_stride", None)
    if stride not in (None, STRIDE):
        warnings.warn(
            f"mm_spatial_pool_stride is {shown(stride)}, which LLaVA-NeXT does not read: frames are pooled by {STRIDE}",
            stacklevel=2,
        )


def pooled_side(side: int, mode: str) -> int:
    """Tokens along one side of a frame of `side` patches: rounded up for `bilinear`, else down."""
    return -(-side // STRIDE) if mode == "bilinear" else side // STRIDE


def newlines(config: object, frames: int, rows: int) -> int:
    """The newline tokens of a video of `frames` frames of `rows` rows each; InputError as `newline_position`."""
    merge = merge_of(config)
    if not merge.spatial:
        return 0
    counts = {"one_token": int(merge.unpad), "no_token": 0, "frame": frames, "grid": frames * rows}
    return counts[newline_position(config)]


def video_tokens(config: object, side: int, frames: int) -> int:
    """Tokens of a video where nothing is dropped, newlines counted.

    Args:
        side: patches along one side of a frame.
    """
    rows = pooled_side(side, pool_mode(config))
    return frames * rows * rows + newlines(config, frames, rows)


def _one_of(config: object, key: str, known: tuple[str, ...]) -> str:
    value: Any = getattr(config, key, None)
    if value is None:
        return known[0]
    if value not in known:
        raise InputError(
            f"{key} must be known: got {shown(value)}, expected one of {', '.join(known)}; mend config.json"
        )
    return value
