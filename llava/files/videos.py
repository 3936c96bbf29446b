"""Opening videos as frames: films, animated pictures (GIF, WebP, PNG), and folders of pictures."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from llava.errors import InputError, one_line, shown
from llava.files.films import film_frames
from llava.files.pictures import DECODING_ERRORS, FORMATS, check_size, open_image, refuse_address, to_rgb
from llava.files.reading import check_regular, files_in
from llava.files.sampling import check_kept, check_total, frame_numbers

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def open_video(path: str | os.PathLike[str], frames: int, progress: bool = False) -> list[Image.Image]:
    """`frames` pictures of a video, RGB, evenly spaced by the rule of `frame_numbers`; no others are kept.

    Args:
        path: a film (see `llava.files.films`), an animated GIF, WebP or PNG, or a folder whose pictures are the frames
            in the order of their names, numbers in them counted as numbers (`f2.png` before `f10.png`).
        progress: show a bar while decoding, where stderr is a terminal.

    Raises:
        InputError: there is no video at `path`, it is damaged, or it is too large; the message names it.
    """
    label = f"video {shown(os.fspath(path), 300)}"
    if not os.path.lexists(path):
        refuse_address(os.fspath(path), "a video file")
        raise InputError(f"{label} does not exist; check the folder of videos and the name in the questions")
    if os.path.isdir(path):
        return _frames_of_folder(path, label, frames)
    check_regular(path, "a video")
    animation = _animation_frames(path, label, frames)
    return animation if animation is not None else film_frames(path, label, frames, progress)


def frame_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder of frames, in order; InputError where it cannot be listed."""
    pictures = [path for path in files_in(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(pictures, key=lambda path: (*_numbered(path.stem), path.name))


def _numbered(name: str) -> Iterator[tuple[int, int, str]]:
    """A name's parts to be compared: runs of digits as numbers, before what are none."""
    for part in re.split(r"([0-9]+)", name):
        yield (0, int(part), "") if part.isdecimal() and len(part) < 100 else (1, 0, part)


def _frames_of_folder(folder: str | os.PathLike[str], label: str, frames: int) -> list[Image.Image]:
    files = frame_files(folder)
    if not files:
        raise InputError(f"{label} must hold frames: the folder has no picture ({', '.join(SUFFIXES)}); check the path")
    opened: dict[int, Image.Image] = {}
    for number in (wanted := frame_numbers(len(files), frames)):
        if number not in opened:
            opened[number] = open_image(files[number])
            check_kept(opened[number].size, frames, label)
    return [opened[number] for number in wanted]


def _animation_frames(path: str | os.PathLike[str], label: str, frames: int) -> list[Image.Image] | None:
    """The frames of an animated picture; None where the file is no picture at all."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            total, size = getattr(picture, "n_frames", 1), picture.size
            check_size(*size, label)
            if picture.format not in ("GIF", "WEBP", "PNG") or (total == 1 and picture.format != "GIF"):
                raise InputError(f"{label} must have frames: it is a picture ({picture.format}); give it as an image")
            check_kept(size, frames, label)
            wanted = frame_numbers(check_total(total, label, size), frames)
            kept = {}
            for number in sorted(set(wanted)):
                picture.seek(number)
                kept[number] = to_rgb(picture, label)
            return [kept[number] for number in wanted]
    except InputError:
        raise
    except UnidentifiedImageError:
        return None
    except DECODING_ERRORS as error:
        why = one_line(error) or type(error).__name__
        raise InputError(f"{label} must be a complete animation that Pillow reads: {why}; fetch it again") from error
