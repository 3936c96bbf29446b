"""Small films for tests, made by PyAV from arrays."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

# Ending, codec and pixel format of what is decoded to the very numbers that were put in, and of what is not.
LOSSLESS = [("mkv", "ffv1", "bgr0"), ("mov", "png", "rgb24"), ("avi", "rawvideo", "bgr24")]
LOSSY = [("mp4", "libx264", "yuv420p"), ("mkv", "libx264", "yuv420p"), ("ts", "libx264", "yuv420p")]
LOSSY += [("avi", "mpeg4", "yuv420p"), ("webm", "libvpx-vp9", "yuv420p"), ("flv", "flv1", "yuv420p")]


def greys(count: int, size: tuple[int, int] = (64, 48), step: int = 8) -> list[np.ndarray]:
    """Frames (h, w, 3) of one grey each: frame i is i * step."""
    return [np.full((size[1], size[0], 3), step * number, np.uint8) for number in range(count)]


def write_film(
    path: Path, frames: Sequence[np.ndarray], codec: str = "ffv1", pixels: str = "bgr0", **options: str
) -> Path:
    """A film of (h, w, 3) uint8 frames, ten a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = options
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


def write_sound(path: Path, codec: str = "aac") -> Path:
    """A second of silence without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        for start in range(0, 16384, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
