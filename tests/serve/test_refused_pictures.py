"""Pictures that the server refuses, and odd ones that it takes."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from refusals import HI, post, refused
from served import Served, served, shipped, user

SVG = "data:image/svg+xml;base64,PHN2Zy8+"
BAD_URLS = [
    *("", "x", "http://127.0.0.1/a.png", "https://127.0.0.1/a.png", "file:///etc/passwd", "ftp://a/b.png", SVG),
    *("data:,hi", "data:image/png;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,aGVsbG8=", "data:"),
    *("data:text/html;base64,PGh0bWw+", "data:text/plain;base64,aGVsbG8=", "data:image/png,%89PNG", "blob:http://x"),
    *(
        "javascript:alert(1)",
        "data:image/png;base64,\0",
        "data:image/png;base64, aGk=",
        "data:image/png;base64,aGk",
        "//a/b.png",
    ),
    "data:image/jpeg;base64,JSFQUy1BZG9iZS0zLjAgRVBTRi0zLjAK",  # EPS
]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(shipped()) as running:
        yield running


@pytest.mark.parametrize("url", BAD_URLS)
def test_pictures_that_are_none(server: Served, url: str) -> None:
    refused(*post(server, json.dumps(HI | {"messages": [user("hi", url)]}).encode()))


def picture(image: Image.Image, kind: str, **settings: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def bomb(side: int) -> str:
    """A small PNG that says it is large."""
    content = bytearray(base64.b64decode(picture(RED, "PNG").partition(",")[2]))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


RED = Image.new("RGB", (20, 20), "red")
BAD_PICTURES = {
    "of floats": lambda: picture(Image.new("F", (9, 9)), "TIFF"),
    "a bomb": lambda: bomb(20_000),
    "a line whose square is a bomb": lambda: picture(Image.new("1", (1, 60_000)), "PNG"),
    "an icon": lambda: picture(RED, "ICO"),
}
ODD_PICTURES = {
    "CMYK": lambda: picture(RED.convert("CMYK"), "JPEG"),
    "16 bits": lambda: picture(Image.new("I;16", (20, 20), 40_000), "PNG"),
    "animated": lambda: picture(RED, "GIF", save_all=True, append_images=[RED.rotate(9)] * 2),
    "a palette": lambda: picture(RED.convert("P"), "PNG"),
    "grey with alpha": lambda: picture(RED.convert("LA"), "PNG"),
    "one bit": lambda: picture(RED.convert("1"), "TIFF"),
    "another kind than it says": lambda: picture(RED, "BMP"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_pictures_that_cannot_be_shown(server: Served, name: str) -> None:
    refused(*post(server, json.dumps(HI | {"messages": [user("hi", BAD_PICTURES[name]())]}).encode()))


@pytest.mark.parametrize("name", ODD_PICTURES)
def test_pictures_of_odd_kinds_are_shown(server: Served, name: str) -> None:
    body = HI | {"messages": [user("hi", ODD_PICTURES[name]())], "max_tokens": 1, "temperature": 0}
    status, told = post(server, json.dumps(body).encode())
    assert status == 200 and told["usage"]["prompt_tokens_details"]["image_tokens"] == 256, told
