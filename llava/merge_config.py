"""`mm_patch_merge_type`: how the views of a picture become its tokens, taken apart and judged.

LLaVA-NeXT looks for parts of the name: `spatial` lays the tiles out as one picture; `unpad` cuts its padding off and
ends its rows with the newline token; `maxpool2x2` keeps the largest of two by two patches instead; `nobase` leaves out
the view of the whole.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, shown

PARTS = ("unpad", "maxpool2x2", "nobase")
# anyres_max_N shrinks what is more than this times larger, in each direction, than N views.
SLACK = 1.1


@dataclass(frozen=True)
class Merge:
    """What a merge type asks for.

    Attributes:
        spatial: tiles are laid out as one picture; else the views follow one another (`flat`).
        unpad: padding is cut off and rows end with the newline token, which also ends a picture of one view.
        maxpool: two by two patches of the tiles become one, their largest; nothing is cut off then.
        nobase: the whole picture's view is left out where there are tiles.
    """

    spatial: bool = False
    unpad: bool = False
    maxpool: bool = False
    nobase: bool = False


def patch_merge_type(config: object) -> str:
    """The configuration's `mm_patch_merge_type`, `flat` where the key is absent.

    Raises:
        InputError: for one that LLaVA does not know, or of which a part is not known here.
    """
    value: Any = getattr(config, "mm_patch_merge_type", None)
    if value is None:
        return "flat"
    kind, *parts = value.split("_") if isinstance(value, str) else ("",)
    known = kind == "spatial" and all(part in PARTS for part in parts) and len(set(parts)) == len(parts)
    if value != "flat" and not known:
        raise InputError(
            f"mm_patch_merge_type must be known: got {shown(value)}, expected flat, spatial, spatial_unpad, or spatial "
            f"with other parts of {', '.join(PARTS)}; mend config.json or use another checkpoint"
        )
    return value


def merge_of(config: object) -> Merge:
    """The configuration's merge type, taken apart; InputError as `patch_merge_type`."""
    kind, *parts = patch_merge_type(config).split("_")
    return Merge(kind == "spatial", *(part in parts for part in PARTS))


def shrunk(height: int, width: int, side: int, most_tiles: int | None) -> tuple[int, int]:
    """(height, width) of a map of patches after `anyres_max_N` has made it small enough; as it is where it is that.

    Args:
        side: patches along one side of a view.
        most_tiles: N; None: maps stay as they are.
    """
    if most_tiles is None:
        return height, width
    times = math.sqrt(height * width / (most_tiles * side**2))
    return (int(height // times), int(width // times)) if times > SLACK else (height, width)


@functools.lru_cache(maxsize=4096)
def most_of_grid(columns: int, rows: int, side: int, merge: Merge, most_tiles: int | None) -> tuple[int, int, int]:
    """The most tokens that a picture in `columns` x `rows` tiles can have: of its base view, its tiles, and newlines.

    The padding that is cut off lies above and below, or left and right, the same whole number of patches on each side.
    """
    base = 0 if merge.nobase else side * side
    high, wide = rows * side, columns * side
    if merge.maxpool:
        return base, (high // 2) * (wide // 2), 0
    if not merge.unpad:
        return base, high * wide, 0
    if most_tiles is None:
        return base, high * wide, high
    cuts = [(high - 2 * cut, wide) for cut in range((high + 1) // 2)]
    cuts += [(high, wide - 2 * cut) for cut in range((wide + 1) // 2)]
    sizes = [shrunk(height, width, side, most_tiles) for height, width in cuts]
    height, width = max(sizes, key=lambda size: size[0] * (size[1] + 1))
    return base, height * width, height
