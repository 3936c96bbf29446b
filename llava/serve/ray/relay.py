"""Passing a replica's answer on. A replica that is lost before its answer has begun is replaced by another one.

Nothing here imports Ray: a replica is whatever makes an iterator of a `Head` and the content after it.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from fastapi import Response
from fastapi.responses import StreamingResponse

from llava.serve.api.errors import Refusal
from llava.serve.ray.call import Head

Parts = AsyncGenerator[Head | bytes, None]
ATTEMPTS = 4
# They are of one connection; the server that answers the client writes its own.
HOP_BY_HOP = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})


class Lost(Exception):
    """The replica that was asked is gone."""


async def relay(ask: Callable[[], Parts]) -> Response:
    """The answer of a replica.

    Args:
        ask: sends the request, to another replica where the last one is gone; raises `Lost`, or `Refusal` for what
            another one would not do better.

    Raises:
        Refusal: of `ask`; 503 where one replica after the other is lost.
    """
    for _ in range(ATTEMPTS):
        parts = ask()
        try:
            head = await anext(parts)
            assert isinstance(head, Head), "an answer begins with its head"
            if head.streams:
                return _response(head, StreamingResponse(_to_the_end(parts)))
            return _response(head, Response(b"".join([part async for part in parts])))  # type: ignore[arg-type]
        except Lost:
            continue
    raise Refusal(503, f"{ATTEMPTS} replicas were lost while they worked on this request; try again in a while")


async def _to_the_end(parts: Parts) -> AsyncIterator[bytes]:
    """A stream; where it cannot be finished it ends with an error as OpenAI's clients know it."""
    try:
        async with aclosing(parts):  # where the client goes, so that the replica hears of it
            async for part in parts:
                assert isinstance(part, bytes)
                yield part
    except Lost:
        yield _event(Refusal(503, "the replica that wrote this answer was lost; ask again"))
    except Refusal as refusal:
        yield _event(refusal)


def _event(refusal: Refusal) -> bytes:
    return f"data: {json.dumps(refusal.body())}\n\n".encode()


def _response(head: Head, response: Response) -> Response:
    response.status_code = head.status
    own = [(name, value) for name, value in response.raw_headers if name == b"content-length"]
    response.raw_headers = own + [(name, value) for name, value in head.headers if name not in HOP_BY_HOP]
    return response
