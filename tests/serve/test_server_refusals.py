"""What the server refuses: each in one sentence, in OpenAI's form, and it stays up."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served, shipped, user

from llava.eval.runs.loading import Loaded
from llava.serve.api.schema import NOT_DONE


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
BAD_BODIES: list[bytes] = [
    *(b"", b"{", b"null", b"[]", b'"hi"', b"\xff\xfe", b"[" * 100_000, b"{}" * 2, b'{"model": NaN}', b"9" * 5000),
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
        {"seed": 1.5},
        {"seed": 2**70},
        {"stream": "yes"},
    ),
    *({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 99}, {"stream_options": 5}, {"reduction": 5}),
    *({"reduction": "nothing"}, {"reduction": {}}, {"reduction": {"method": "visiondrop", "retain": -1}}),
    {"reduction": {"method": "visiondrop", "retain": 10**9}},
    {"reduction": {"method": "visiondrop", "dominant": "x"}},
    {"reduction": {"method": "visionzip", "dominant": 10**6, "contextual": 1}},
    *({"tools": [{}]}, {"logit_bias": {"5": 1}}, {"response_format": {"type": "json_object"}}, {"presence_penalty": 1}),
]
SVG = "data:image/svg+xml;base64,PHN2Zy8+"
BAD_URLS = [
    *("", "x", "http://127.0.0.1/a.png", "https://127.0.0.1/a.png", "file:///etc/passwd", "ftp://a/b.png", SVG),
    *("data:,hi", "data:image/png;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,aGVsbG8=", "data:"),
    "data:text/html;base64,PGh0bWw+",
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


def test_a_body_that_is_too_large_or_too_slow(loaded: Loaded) -> None:
    with served(loaded, most_bytes=1000, body_seconds=0.3) as small:
        assert post(small, json.dumps(HI | {"user": "x" * 2000}).encode())[0] == 413
        connection = http.client.HTTPConnection(small.url.removeprefix("http://"))
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", "500")
        connection.endheaders(b'{"model":')
        assert connection.getresponse().status == 408
        assert post(small, json.dumps(HI | {"max_tokens": 1}).encode())[0] == 200
