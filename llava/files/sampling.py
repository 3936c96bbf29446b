"""Which frames of a video are looked at, and how much of one may be looked at."""

import warnings

import numpy as np

from llava.errors import InputError
from llava.files.pictures import MOST_PIXELS

# Frames that are kept at once, in all: 2 GiB of RGB. Frames that are decoded, in all: five hours of 1080p at 60 Hz.
MOST_KEPT_PIXELS = 4 * MOST_PIXELS
MOST_DECODED_PIXELS = 2**41


def frame_numbers(total: int, frames: int) -> list[int]:
    """The numbers, from 0, of `frames` frames evenly spaced over `total`, the first and the last among them.

    LLaVA-NeXT's uniform sampling: frame i of n is number i * (total - 1) / (n - 1), rounded down (in float64, as
    numpy.linspace computes it); one alone is the first. Example: 4 of 10 are 0, 3, 6, 9. Where there are fewer than
    asked for, the rule repeats frames, so that every video has as many: 4 of 2 are 0, 0, 0, 1. That is said once.
    """
    assert total > 0 and frames > 0
    if total < frames:
        warnings.warn(
            f"a video has fewer frames than asked for, {total} of {frames}: frames are repeated; ask for fewer "
            f"(--num-frames) where that is not wanted",
            stacklevel=2,
        )
    return np.linspace(0, total - 1, frames, dtype=int).tolist()


def check_total(total: int, label: str, size: tuple[int, int] = (1, 1)) -> int:
    """`total`, if a video of so many frames of (width, height) can be decoded in sensible time.

    Raises:
        InputError: there is no frame, or the frames have too many pixels in all.
    """
    if total < 1:
        raise InputError(f"{label} must hold frames: it has none; fetch it again")
    pixels = total * size[0] * size[1]
    if pixels > MOST_DECODED_PIXELS:
        raise InputError(
            f"{label} must have at most {MOST_DECODED_PIXELS:,} pixels in all its frames: got {total} of {size[0]} x "
            f"{size[1]}; cut it, or make it smaller"
        )
    return total


def check_kept(size: tuple[int, int], frames: int, label: str) -> None:
    """Refuse to keep more frames of (width, height) than fit into `MOST_KEPT_PIXELS`."""
    if frames * size[0] * size[1] > MOST_KEPT_PIXELS:
        raise InputError(
            f"the frames that are looked at must have at most {MOST_KEPT_PIXELS:,} pixels in all: got {frames} of "
            f"{size[0]} x {size[1]} of {label}; ask for fewer (--num-frames), or make it smaller"
        )
