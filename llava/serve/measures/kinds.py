"""Kinds of requests, right, broken and cut off, and what may come of each.

Each sends one request and returns `right`, `refused` or `cut`, as it should be; else `wrong` for an answer that is not
the runner's, or `lost` for none at all.
"""

import contextlib
import http.client
import json
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from llava.errors import InputError
from llava.serve.clients import RefusedError, pieces
from llava.serve.measures.asked import Asked

PATH = "/v1/chat/completions"
LETTERS = "etaoinshrdlu"  # one of the first of these in an answer is where it is stopped
Kind = Callable[[str, Asked, str], str]


def streamed(url: str, asked: Asked, text: str) -> str:
    """An answer as it grows."""
    try:
        return "right" if "".join(pieces(url, asked.body)) == text else "wrong"
    except (InputError, RefusedError, http.client.HTTPException):
        return "lost"


def whole(url: str, asked: Asked, text: str) -> str:
    """An answer in one object."""
    return _choices(url, asked, [text], {})


def several(url: str, asked: Asked, text: str) -> str:
    """Two choices; greedily they are the same."""
    return _choices(url, asked, [text, text], {"n": 2, "logprobs": True, "top_logprobs": 2})


def stopped(url: str, asked: Asked, text: str) -> str:
    """An answer that a letter of it ends."""
    letter = next((sign for sign in LETTERS if sign in text), "#")
    return _choices(url, asked, [text.split(letter)[0].rstrip()], {"stop": [letter, "###"]})


def no_json(url: str, asked: Asked, text: str) -> str:
    """A body that breaks off before its end, though its length says that it is whole."""
    return _refused(url, asked.body[: len(asked.body) // 2])


def no_number(url: str, asked: Asked, text: str) -> str:
    """A field that cannot be."""
    return _refused(url, _with(asked, {"max_tokens": 0}))


def no_picture(url: str, asked: Asked, text: str) -> str:
    """A picture whose end is missing."""
    body = json.loads(asked.body)
    place = body["messages"][0]["content"][0]["image_url"]
    place["url"] = place["url"][: len(place["url"]) // 2 // 4 * 4]
    return _refused(url, json.dumps(body).encode())


def no_model(url: str, asked: Asked, text: str) -> str:
    """A model that is not there."""
    return _refused(url, _with(asked, {"model": "another"}))


def cut_in_header(url: str, asked: Asked, text: str) -> str:
    """A client that goes before its header has ended."""
    return _cut(url, _raw(asked)[:40])


def cut_in_body(url: str, asked: Asked, text: str) -> str:
    """A client that goes before its body has ended."""
    return _cut(url, _raw(asked)[:-10])


def cut_waiting(url: str, asked: Asked, text: str) -> str:
    """A client that asks and goes at once, without a word to TCP either."""
    return _cut(url, _raw(asked), reset=True)


def cut_listening(url: str, asked: Asked, text: str) -> str:
    """A client that goes after an answer's first piece."""
    try:
        next(pieces(url, asked.body), None)
    except (InputError, RefusedError, http.client.HTTPException):
        return "lost"
    return "cut"


RIGHT: tuple[Kind, ...] = (streamed, whole, several, stopped)
REFUSED: tuple[Kind, ...] = (no_json, no_number, no_picture, no_model)
CUT: tuple[Kind, ...] = (cut_in_header, cut_in_body, cut_waiting, cut_listening)
BROKEN = (*REFUSED, *CUT)
KINDS = {kind.__name__: kind for kind in (*RIGHT, *BROKEN)}


def kind_of_request(number: int) -> str:
    """The kind of a request by its number: every third is broken or cut off, all kinds in turn."""
    third, place = divmod(number, 3)
    kind = BROKEN[third % len(BROKEN)] if place == 2 else RIGHT[(2 * third + place) % len(RIGHT)]
    return kind.__name__


def _choices(url: str, asked: Asked, texts: list[str], more: dict[str, Any]) -> str:
    try:
        status, value = _posted(url, _with(asked, {"stream": False, **more}))
        told = [choice["message"]["content"] for choice in value["choices"]] if status == 200 else None
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return "lost"
    return "lost" if told is None else "right" if told == texts else "wrong"


def _refused(url: str, body: bytes) -> str:
    try:
        status, value = _posted(url, body)
        message = value["error"]["message"]
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return "lost"
    return "refused" if 400 <= status < 500 and message and "\n" not in message else "wrong"


def _posted(url: str, body: bytes) -> tuple[int, dict[str, Any]]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
    with contextlib.closing(connection):
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def _with(asked: Asked, fields: dict[str, Any]) -> bytes:
    return json.dumps(json.loads(asked.body) | fields).encode()


def _raw(asked: Asked) -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(asked.body)}\r\n\r\n"
    return head.encode() + asked.body


def _cut(url: str, content: bytes, reset: bool = False) -> str:
    place = urlsplit(url)
    try:
        with socket.create_connection((place.hostname or "", place.port or 80), timeout=60) as connection:
            connection.sendall(content)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        return "lost"
    return "cut"
