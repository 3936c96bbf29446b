"""Passing a replica's answer on. A replica that is lost before its answer has begun is replaced by another one.

Nothing here imports Ray: a replica is whatever makes an iterator of a `Head` and the content after it.
"""

import json
from collections.abc import AsyncIterator, Callable

from fastapi import Response
from fastapi.responses import StreamingResponse

from llava.serve.api.errors import Refusal
from llava.serve.ray.call import Head

Parts = AsyncIterator[Head | bytes]
Lost = tuple[type[BaseException], ...]
ATTEMPTS = 4
# They are of one connection; the server that answers the client writes its own.
HOP_BY_HOP = frozenset({b"connection", b"content-length", b"keep-alive", b"transfer-encoding"})


async def relay(ask: Callable[[], Parts], lost: Lost) -> Response:
    """The answer of a replica.

    Args:
        ask: sends the request, to another replica each time where the last one is gone.
        lost: what it raises where a replica is gone.

    Raises:
        Refusal: 503 where one replica after the other is lost.
    """
    for _ in range(ATTEMPTS):
        parts = ask()
        try:
            head = await anext(parts)
            assert isinstance(head, Head), "an answer begins with its head"
            if head.streams:
                return _response(head, StreamingResponse(_until_lost(parts, lost)))
            return _response(head, Response(b"".join([part async for part in parts])))  # type: ignore[arg-type]
        except lost:
            continue
    raise Refusal(503, f"{ATTEMPTS} replicas were lost while they worked on this request; try again in a while")


async def _until_lost(parts: Parts, lost: Lost) -> AsyncIterator[bytes]:
    """A stream; where its replica is lost it ends with an error as OpenAI's clients know it."""
    try:
        async for part in parts:
            assert isinstance(part, bytes)
            yield part
    except lost:
        refusal = Refusal(503, "the replica that wrote this answer was lost; ask again")
        yield f"data: {json.dumps(refusal.body())}\n\n".encode()


def _response(head: Head, response: Response) -> Response:
    response.status_code = head.status
    own = [(name, value) for name, value in response.raw_headers if name == b"content-length"]
    response.raw_headers = own + [(name, value) for name, value in head.headers if name not in HOP_BY_HOP]
    return response
