"""Damaged videos of many forms are opened or refused by name; `FUZZ` says how many, as for the commands."""

import os
import warnings
import zlib
from pathlib import Path
from random import Random

import pytest
from films import LOSSLESS, LOSSY, greys, write_film
from mutations import damaged
from PIL import Image

from llava.errors import InputError
from llava.files.videos import open_video

FORMS = [*LOSSLESS, *LOSSY, ("gif", "", ""), ("webp", "", "")]
EACH = max(40, int(os.environ.get("FUZZ", "0")) // 8 // len(FORMS))


def encoded(folder: Path, ending: str, codec: str, pixels: str) -> bytes:
    """A video of twelve frames."""
    path = folder / f"good.{ending}"
    if codec:
        return write_film(path, greys(12), codec, pixels).read_bytes()
    stored = [Image.fromarray(frame) for frame in greys(12)]
    stored[0].save(path, save_all=True, append_images=stored[1:])
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "codec", "pixels"), FORMS)
def test_damaged_videos_are_opened_or_refused(tmp_path: Path, ending: str, codec: str, pixels: str) -> None:
    random, good = Random(zlib.crc32(f"{ending}{codec}".encode())), encoded(tmp_path, ending, codec, pixels)
    path, refused = tmp_path / "video", 0
    with warnings.catch_warnings(action="ignore"):
        for _ in range(EACH):
            path.write_bytes(damaged(random, good))
            try:
                frames = open_video(path, 4)
                assert len(frames) == 4 and all(frame.mode == "RGB" for frame in frames)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000 and str(path) in str(error)
                refused += 1
    assert refused
