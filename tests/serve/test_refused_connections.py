"""Connections that bring no request, or one that does not end: each is told so, and the server stays up."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from refusals import HI, post, refused
from served import Served, served, shipped

from llava.eval.runs.loading import Loaded


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return shipped()


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
    refused(status, body)
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
        refused(second.status, json.loads(second.read()))
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
