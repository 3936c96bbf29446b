"""Decoding films (MP4, MKV, WebM, AVI, ...) with PyAV: chosen frames only, by their exact numbers.

A file is only ever what it holds itself: formats that name other files or addresses (HLS, DASH, concat lists) are not
opened, and neither are those that take any text for a picture. PyAV is the extra `video`, and imported when needed.
"""

import os
from collections.abc import Collection
from typing import Any

from PIL import Image
from tqdm import tqdm

from llava.errors import InputError, one_line
from llava.files.pictures import MOST_PIXELS, check_size
from llava.files.sampling import check_kept, check_total, frame_numbers

# FFmpeg's names of the container formats that hold a film themselves.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,asf,ogg,ivf"
_OPENING = {"options": {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}, "metadata_errors": "ignore"}
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
# How much of the length that a container promises may be missing at its end before it counts as cut short.
_TOLERANCE, _TOLERANCE_SECONDS = 0.05, 0.2


def film_frames(path: str | os.PathLike[str], label: str, frames: int, progress: bool = False) -> list[Image.Image]:
    """`frames` pictures of a film, RGB, turned as a player shows them, by the rule of `frame_numbers`.

    Args:
        label: names the file in complaints.
        progress: show a bar while decoding, where stderr is a terminal.

    Raises:
        InputError: PyAV is not installed; the file is no film, damaged, cut short, too large or without picture.
    """
    try:
        import av
    except ImportError:
        raise InputError(
            f"{label} needs PyAV to be decoded, which is not installed; pip install 'visiondrop[video]', or give a "
            f"folder of its frames"
        ) from None
    try:
        total = _count(av, path, label, frames)
        for _ in range(2):
            wanted = frame_numbers(total, frames)
            bar = tqdm(total=total, desc="decoding", unit="frame", leave=False, disable=None if progress else True)
            kept, seen = _decode(av, path, label, set(wanted), bar)
            if kept.keys() >= set(wanted) and (seen == total or wanted == [0]):
                return [kept[number] for number in wanted]
            total = check_total(seen, label)  # packets were not frames one by one: now they are counted
    # IndexError: PyAV itself, where a damaged transport stream grows another stream.
    except (av.FFmpegError, OSError, MemoryError, OverflowError, IndexError) as error:
        why = "it is none" if isinstance(error, av.ArgumentError) else getattr(error, "strerror", None)
        raise _damaged(label, one_line(why or error) or type(error).__name__) from error
    raise _damaged(label, "it decodes to another number of frames each time")


def _damaged(label: str, why: str) -> InputError:
    rule = "must be a whole film that FFmpeg decodes (MP4, MKV, WebM, AVI, ...)"
    return InputError(f"{label} {rule}: {why}; fetch it again")


def _stream(container: Any, label: str) -> Any:
    """The stream of pictures; the cover of a piece of music is none."""
    films = [stream for stream in container.streams.video if not stream.disposition & stream.disposition.attached_pic]
    if not films:
        raise InputError(f"{label} must hold a film: it has no video stream, sound at most; check the path")
    if films[0].codec_context is None:
        raise _damaged(label, "its codec is not known")
    return films[0]


def _count(av: Any, path: str | os.PathLike[str], label: str, frames: int) -> int:
    """Packets of the stream of pictures, which are its frames but for odd files; nothing is decoded."""
    packets, seconds = 0, 0.0
    with open(path, "rb") as file, av.open(file, **_OPENING) as container:
        stream = _stream(container, label)
        size = (stream.codec_context.width, stream.codec_context.height)
        check_size(*size, label)
        check_kept(size, frames, label)
        for packet in container.demux():
            packets += packet.stream is stream and packet.size > 0 and not packet.is_discard
            if packet.pts is not None and packet.time_base is not None:
                seconds = max(seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        promised = (container.duration or 0) / av.time_base
    if seconds < (1 - _TOLERANCE) * promised - _TOLERANCE_SECONDS:
        raise _damaged(label, f"it is cut short, {seconds:.1f} of {promised:.1f} seconds are there")
    return check_total(packets, label, size)


def _decode(
    av: Any, path: str | os.PathLike[str], label: str, wanted: Collection[int], bar: tqdm
) -> tuple[dict[int, Image.Image], int]:
    """The wanted frames by their numbers, and how many frames were decoded: all, unless the first alone is wanted."""
    kept: dict[int, Image.Image] = {}
    seen = 0
    with bar, open(path, "rb") as file, av.open(file, **_OPENING) as container:
        stream = _stream(container, label)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if seen in wanted:
                if frame.is_corrupt:
                    raise _damaged(label, f"frame {seen} is damaged")
                check_size(frame.width, frame.height, label)
                turn = _TURNS.get(round(frame.rotation) % 360)
                picture = frame.to_image()
                kept[seen] = picture if turn is None else picture.transpose(turn)
            seen += 1
            bar.update()
            if wanted == {0}:
                break
    return kept, seen
