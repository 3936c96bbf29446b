"""Damaged pictures of every format are opened or refused by name; `FUZZ` says how many, as for the commands."""

import base64
import io
import os
import warnings
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from mutations import damaged
from PIL import Image

from llava.errors import InputError
from llava.files.pictures import FORMATS, load_image_from_base64, open_image
from llava.mm_utils import expand2square

EACH = max(40, int(os.environ.get("FUZZ", "0")) // 2 // len(FORMATS))


def encoded(form: str) -> bytes:
    """A small picture with some structure in it."""
    pixels = np.random.RandomState(0).randint(0, 256, (24, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_damaged_pictures_are_opened_or_refused(tmp_path: Path, form: str) -> None:
    random, good, path = Random(zlib.crc32(form.encode())), encoded(form), tmp_path / "photo.jpg"
    opened = 0
    with warnings.catch_warnings(action="ignore"):
        for number in range(EACH):
            content = damaged(random, good)
            try:
                if number % 2:
                    path.write_bytes(content)
                    picture = open_image(path)
                else:
                    picture = load_image_from_base64(base64.b64encode(content))
                assert picture.mode == "RGB" and max(expand2square(picture, (0, 0, 0)).size) == max(picture.size)
                opened += 1
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 2000
    assert opened < EACH
