"""What the server refuses: each in one sentence, in OpenAI's form, and it stays up."""

import base64
import http.client
import io
import json
import re
import socket
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from served import Served, data_url, served, shipped, user

from llava.eval.runs.loading import Loaded
from llava.serve.api.errors import Refusal
from llava.serve.api.schema import NOT_DONE, read_request


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return shipped()


@pytest.fixture(scope="module")
def server(loaded: Loaded) -> Iterator[Served]:
    with served(loaded) as running:
        yield running


def post(server: Served, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, dict]:
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


HI: dict[str, Any] = {"model": "llava-shapes", "messages": [{"role": "user", "content": "hi"}]}
SHOWS = {"content": [{"type": "image_url", "image_url": {"url": data_url()}}]}
BAD_BODIES: list[bytes] = [
    *(b"", b"{", b"null", b"[]", b'"hi"', b"\xff\xfe", b"[" * 100_000, b"{}" * 2, b'{"model": NaN}', b"9" * 5000),
    *(b"\0" * 9, b'{"a":' * 90_000 + b"1" + b"}" * 90_000, b"\x1f\x8b" + b"x" * 50, b'{"max_tokens": -Infinity}'),
    *(b'{"model": "\\ud800"}', b"<html></html>", b"a=b", b'{"a": 1e999}'),
]
BAD_FIELDS: list[dict[str, Any]] = [
    *({"model": None}, {"model": 5}, {"messages": None}, {"messages": []}, {"messages": "hi"}, {"messages": [5]}),
    *({"messages": [{"role": "user"}]}, {"messages": [{"role": "king", "content": "hi"}]}),
    {"messages": [{"role": "assistant", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "user", "content": []}]},
    {"messages": [{"role": "user", "content": "what is <image>?"}]},
    {"messages": [{"role": "system", "content": "be good"}]},
    {"messages": [{"role": "user", "content": [{"type": "video", "video": "x"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
    *({"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": "9"}, {"max_tokens": 10**9}),
    *({"temperature": -1}, {"temperature": 3}, {"temperature": "hot"}, {"top_p": 0}, {"top_p": 2}, {"n": 0}, {"n": 99}),
    *(
        {"stop": ""},
        {"stop": [""]},
        {"stop": 5},
        {"stop": ["a"] * 9},
        {"stop": {}},
        {"stop": [1]},
        {"stop": [None]},
        {"stop": ["x" * 1000]},
        {"seed": 1.5},
        {"seed": 2**70},
        {"stream": "yes"},
    ),
    *({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 99}, {"stream_options": 5}, {"reduction": 5}),
    *({"reduction": "nothing"}, {"reduction": {}}, {"reduction": {"method": "visiondrop", "retain": -1}}),
    {"reduction": {"method": "visiondrop", "retain": 10**9}},
    {"reduction": {"method": "visiondrop", "dominant": "x"}},
    {"reduction": {"method": "visionzip", "dominant": 10**6, "contextual": 1}},
    {"messages": [{"role": "tool", "content": "hi"}]},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": " \n"}]},
    {"messages": [{"role": "user", "content": ["hi"]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
    {"messages": [{"role": "user", "content": "hello " * 10_000}]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}] * 600},
    {"messages": [SHOWS | {"role": "system"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}, SHOWS | {"role": "assistant"}, {"role": "user", "content": "hi"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": {}}}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "huge"}}]}]},
    *({"n": 10**6}, {"n": -1}, {"n": 2.0}, {"n": True}, {"ignore_eos": "yes"}, {"logprobs": 5}, {"stream": 1}),
    *({"reduction": []}, {"reduction": {"method": None}}, {"reduction": {"method": "__class__"}}),
    {"reduction": {"method": "visiondrop", "retain": 28.5}},
    {"reduction": {"method": "visiondrop", "retain": True}},
    {"reduction": {"method": "visiondrop", "retain": 28, "x": 1}},
    {"reduction": {"method": "random", "keep": 10, "seed": "x"}},
    {"reduction": {"method": "fastv", "mode": "mask"}, "messages": [SHOWS | {"role": "user"}]},
    *({"tools": [{}]}, {"logit_bias": {"5": 1}}, {"response_format": {"type": "json_object"}}, {"presence_penalty": 1}),
]
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


@pytest.mark.parametrize("number", range(len(BAD_BODIES)))
def test_bodies_that_are_no_request(server: Served, number: int) -> None:
    _refused(*post(server, BAD_BODIES[number]))


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=lambda fields: json.dumps(fields)[:60])
def test_fields_that_cannot_be(server: Served, fields: dict) -> None:
    _refused(*post(server, json.dumps(HI | fields).encode()))


@pytest.mark.parametrize("url", BAD_URLS)
def test_pictures_that_are_none(server: Served, url: str) -> None:
    _refused(*post(server, json.dumps(HI | {"messages": [user("hi", url)]}).encode()))


def _refused(status: int, body: dict) -> None:
    assert 400 <= status < 500
    message = body["error"]["message"]
    assert isinstance(message, str) and message and "\n" not in message and len(message) < 1100
    assert "Traceback" not in message and body["error"]["type"] == "invalid_request_error"


def test_what_asks_for_nothing_is_taken(server: Served) -> None:
    idle = {name: values[0] for name, values in NOT_DONE.items()}
    status, body = post(server, json.dumps(HI | idle | {"max_tokens": 1, "user": "me"}).encode())
    assert status == 200, body


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
    _refused(*post(server, json.dumps(HI | {"messages": [user("hi", BAD_PICTURES[name]())]}).encode()))


@pytest.mark.parametrize("name", ODD_PICTURES)
def test_pictures_of_odd_kinds_are_shown(server: Served, name: str) -> None:
    body = HI | {"messages": [user("hi", ODD_PICTURES[name]())], "max_tokens": 1, "temperature": 0}
    status, told = post(server, json.dumps(body).encode())
    assert status == 200 and told["usage"]["prompt_tokens_details"]["image_tokens"] == 256, told


def test_a_complaint_is_about_what_was_meant() -> None:
    said = {
        "stop: List should have at most 4 items after validation, not 5": {"stop": list("abcde")},
        "stop: Input should be a valid string or Input should be a valid list": {"stop": {}},
        "messages.0.content.0.image_url.detail: Input should be 'auto', 'low' or 'high'": {
            "messages": [user("hi", "x") | {"content": [{"type": "image_url", "image_url": {"url": "", "detail": ""}}]}]
        },
        "messages.0.content.0.text: Input should be a valid string": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]
        },
    }
    for sentence, fields in said.items():
        with pytest.raises(Refusal, match=re.escape(sentence)):
            read_request(HI | fields)


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
NO_REQUESTS: dict[str, tuple[bytes, int]] = {
    "another protocol": (b"\x16\x03\x01\x02\0\x01\0", 400),
    "a line of nothing": (b"HELLO\r\n\r\n", 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "a length of letters": (HEAD + b"Content-Length: abc\r\n\r\n", 400),
    "a negative length": (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "a null in the header": (HEAD + b"X: a\0b\r\n\r\n", 400),
    "a huge header": (HEAD + b"X: " + b"a" * 10**6 + b"\r\n\r\n", 400),
    "very many headers": (HEAD + b"".join(b"X%d: a\r\n" % n for n in range(9000)) + b"\r\n", 400),
    "a chunk of letters": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    "no length": (HEAD + b"\r\n", 400),
    "no end of the header": (HEAD, 408),
    "silence": (b"", 408),
    "no end of the body": (HEAD + b"Content-Length: 500\r\n\r\n{", 408),
    "chunks without end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\naaaaa\r\n", 408),
    "a chunk without end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\naa", 408),
    "too many chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100\r\n" + b"a" * 256 + b"\r\n") * 9, 413),
    "another verb": (b"PATCH /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "a path that is not there": (b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
}


def sent(server: Served, content: bytes) -> tuple[int, dict]:
    """What comes back for bytes, all of it read before the connection ends."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(content)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


@pytest.fixture(scope="module")
def impatient(loaded: Loaded) -> Iterator[Served]:
    with served(loaded, body_seconds=0.5, most_bytes=1000) as running:
        yield running


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_what_is_no_request_or_never_ends(impatient: Served, name: str) -> None:
    content, wanted = NO_REQUESTS[name]
    status, body = sent(impatient, content)
    _refused(status, body)
    assert status == wanted
    assert post(impatient, json.dumps(HI | {"max_tokens": 1}).encode())[0] == 200


def test_a_second_request_must_arrive_in_time_too(impatient: Served) -> None:
    host, port = impatient.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        first = http.client.HTTPResponse(connection)
        first.begin()
        assert first.status == 200 and first.read()
        connection.sendall(b"GET /heal")
        second = http.client.HTTPResponse(connection)
        second.begin()
        _refused(second.status, json.loads(second.read()))
        assert second.status == 408


def test_a_body_that_is_too_large_or_too_slow(loaded: Loaded) -> None:
    with served(loaded, most_bytes=1000, body_seconds=0.3) as small:
        assert post(small, json.dumps(HI | {"user": "x" * 2000}).encode())[0] == 413
        connection = http.client.HTTPConnection(small.url.removeprefix("http://"))
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", "500")
        connection.endheaders(b'{"model":')
        assert connection.getresponse().status == 408
        assert post(small, json.dumps(HI | {"max_tokens": 1}).encode())[0] == 200
