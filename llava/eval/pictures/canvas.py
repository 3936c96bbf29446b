"""From the patches that a vision tower saw back to the picture they were cut from.

Everything is in pixels of the picture, x to the right, y down, (0, 0) its upper left corner. What lies outside was put
around the picture before it was cut up.
"""

from dataclasses import dataclass
from typing import Any

from llava.image_config import aspect_ratio, has_tiles
from llava.image_processor import keeps_proportions, resized_edge, view_edge
from llava.pinpoints import parse_pinpoints, select_best_resolution

GAP = 0.06  # between the whole picture and its tiles, as a part of the picture's width


@dataclass(frozen=True)
class Rect:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def moved(self, across: float) -> "Rect":
        """The same further right."""
        return Rect(self.left + across, self.top, self.right + across, self.bottom)

    def cell(self, row: int, column: int, side: int) -> "Rect":
        """One of `side` x `side` equal parts."""
        width, height = (self.right - self.left) / side, (self.bottom - self.top) / side
        left, top = self.left + column * width, self.top + row * height
        return Rect(left, top, left + width, top + height)


@dataclass(frozen=True)
class Canvas:
    """Where to draw: the picture, once or twice, and the square that each view covers."""

    pictures: tuple[Rect, ...]
    views: tuple[Rect, ...]

    @property
    def frame(self) -> Rect:
        """What holds everything."""
        rects = (*self.pictures, *self.views)
        return Rect(
            min(rect.left for rect in rects),
            min(rect.top for rect in rects),
            max(rect.right for rect in rects),
            max(rect.bottom for rect in rects),
        )


def canvas_of(size: tuple[int, int], config: Any, processor: Any) -> Canvas:
    """The canvas of a picture of `size` (width, height) as `llava.mm_utils.process_images` prepares it.

    Args:
        config: the model's, with `image_aspect_ratio`: `pad`, `anyres`, `anyres_max_N`, or none of them for a crop of
            the centre.
        processor: CLIP's image processor, with `size` and `crop_size`.
    """
    width, height = size
    mode = aspect_ratio(config)
    if has_tiles(config):
        return _tiles(size, getattr(config, "image_grid_pinpoints", None), view_edge(processor))
    picture = Rect(0, 0, width, height)
    if mode == "pad":
        edge = float(max(size))
        left, top = -((edge - width) // 2), -((edge - height) // 2)
    elif keeps_proportions(processor):
        edge = min(size) * view_edge(processor) / resized_edge(processor)
        left, top = (width - edge) / 2, (height - edge) / 2
    else:
        part = view_edge(processor) / resized_edge(processor)
        across, down = (width - width * part) / 2, (height - height * part) / 2
        return Canvas((picture,), (Rect(across, down, width - across, height - down),))
    return Canvas((picture,), (Rect(left, top, left + edge, top + edge),))


def _tiles(size: tuple[int, int], pinpoints: Any, edge: int) -> Canvas:
    """The whole picture, squeezed into one view, and beside it the picture in tiles (see `llava.anyres`)."""
    width, height = size
    wide, high = select_best_resolution(size, parse_pinpoints(pinpoints, edge))
    scale = min(wide / width, high / height)
    left, top = (width - wide / scale) / 2, (height - high / scale) / 2
    tile, beside = edge / scale, width * (1 + GAP) - left
    tiles = [
        Rect(left + column * tile, top + row * tile, left + (column + 1) * tile, top + (row + 1) * tile).moved(beside)
        for row in range(high // edge)
        for column in range(wide // edge)
    ]
    picture = Rect(0, 0, width, height)
    return Canvas((picture, picture.moved(beside)), (picture, *tiles))
