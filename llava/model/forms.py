"""What is known of an image before its tokens are put in order, and what a configuration says about that order."""

from dataclasses import dataclass
from typing import Any

from llava.errors import InputError
from llava.image_config import check_tiles, has_tiles, most_tiles, select_feature
from llava.merge_config import Merge, merge_of
from llava.model.image_entries import Sizes
from llava.pinpoints import get_anyres_image_grid_shape
from llava.video_config import check_video_config, newline_position, pool_mode


@dataclass(frozen=True)
class Form:
    """What one image is made of.

    Attributes:
        views: how many there are: frames of a video, or 1, or 1 + tiles.
        modality: one of `image_entries.MODALITIES`.
        grid: rows and columns of the tiles; 0 x 0 where there are none, or the views only follow one another.
        size: (width, height) of the picture in pixels, for cutting off padding; (1, 1) where that is not needed.
    """

    views: int
    modality: str = "image"
    grid: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Rules:
    """What a configuration says about the order of tokens.

    Attributes:
        side: patches along one side of a view.
        merge: its `mm_patch_merge_type`.
        most_tiles: N of `anyres_max_N`, or None.
        pool: how frames are pooled, one of `video_config.POOL_MODES`.
        newlines: where a video has newlines, one of `video_config.NEWLINE_POSITIONS`.
        has_cls: a view begins with [CLS], where nothing was dropped.
    """

    side: int
    merge: Merge = Merge()
    most_tiles: int | None = None
    pool: str = "average"
    newlines: str = "one_token"
    has_cls: bool = False

    @property
    def per_view(self) -> int:
        """Tokens of a view where nothing was dropped."""
        return self.side**2 + int(self.has_cls)


def rules_of(config: Any, side: int, video: bool) -> Rules:
    """The configuration's rules; what it says about videos is read, and may be refused, only where there is one."""
    merge, limit = merge_of(config), most_tiles(config)
    if not video:
        return Rules(side, merge, limit, has_cls=select_feature(config) == "cls_patch")
    check_video_config(config)
    return Rules(side, merge, limit, pool_mode(config), newline_position(config))


def forms_of(
    config: Any,
    edge: int,
    views: list[int],
    image_sizes: Sizes | None,
    modalities: list[str] | None,
) -> list[Form]:
    """The form of each image.

    Args:
        edge: of a view in pixels.
        views: of each image.
        image_sizes: (width, height) of each picture in pixels; not needed where there are no tiles.
        modalities: of each image, see `image_entries.MODALITIES`; None: all are pictures.

    Raises:
        InputError: for views that are not those of a picture of its size.
    """
    kinds = modalities or ["image"] * len(views)
    sizes: Sizes = image_sizes or [None] * len(views)
    forms, spatial = [], merge_of(config).spatial
    if spatial and any(count > 1 and kind == "image" for count, kind in zip(views, kinds)):
        check_tiles(config)
    for count, kind, size in zip(views, kinds, sizes, strict=True):
        if kind == "image" and count > 1 and spatial:
            forms.append(Form(count, kind, _grid(config, edge, count, size), size or (1, 1)))
        else:
            forms.append(Form(count, kind))
    return forms


def follow_one_another(form: Form, rules: Rules, reduced: bool) -> bool:
    """True where an image's tokens are those of its views as they are, one view after the other.

    Args:
        reduced: the vision encoder kept a part of each view.
    """
    if form.grid != (0, 0):
        return False
    return reduced or form.modality == "view" or (form.modality == "image" and not rules.merge.unpad)


def _grid(config: Any, edge: int, views: int, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise InputError("anyres images need image_sizes: got none, expected (width, height) of each picture")
    if not has_tiles(config):
        raise InputError(
            f"a picture is seen in tiles where image_aspect_ratio is anyres or anyres_max_N alone: got one of {views} "
            f"views; prepare it with llava.mm_utils.process_images, or say modalities=['video'] for frames"
        )
    pinpoints = getattr(config, "image_grid_pinpoints", None)
    return grid_of(views, get_anyres_image_grid_shape(size, pinpoints, edge))


def grid_of(views: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles of an image of `views` views whose grid is `shape` (columns, rows).

    Raises:
        InputError: when the views are not the base view and one per tile.
    """
    cols, rows = shape
    if views == 1:
        return 0, 0
    if views != 1 + rows * cols:
        raise InputError(
            f"an anyres image needs a base view and one view per tile: got {views} views, expected {1 + rows * cols} "
            f"for its size; prepare it with llava.mm_utils.process_images and pass its image_sizes, or say "
            f"modalities=['video'] for frames"
        )
    return rows, cols
