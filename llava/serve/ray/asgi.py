"""Calling an ASGI application from Python: one request in, its answer out as it comes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from llava.serve.ray.call import Call, Head

GONE_SECONDS = 10.0  # for an application to notice that nobody listens any more


async def respond(app: Any, call: Call) -> AsyncIterator[Head | bytes]:
    """The answer's head, then its content piece by piece.

    Where the iterator is closed before its end, the application is told that the client has gone.

    Raises:
        Exception: whatever the application lets through.
    """
    messages: asyncio.Queue = asyncio.Queue()
    given, gone = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": call.body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    task = asyncio.create_task(app(_scope(call), receive, messages.put))
    task.add_done_callback(lambda _: messages.put_nowait(None))
    try:
        while (message := await messages.get()) is not None:
            if message["type"] == "http.response.start":
                yield Head(message["status"], tuple(message.get("headers", ())))
            elif message.get("body"):
                yield message["body"]
        await task
    finally:
        gone.set()
        if not task.done():
            await asyncio.wait([task], timeout=GONE_SECONDS)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _scope(call: Call) -> dict[str, Any]:
    """As of ASGI 2.3: under later ones Starlette's streams do not listen for a client that goes."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": call.query,
        "root_path": "",
        "headers": list(call.headers),
        "client": None,
        "server": None,
    }
