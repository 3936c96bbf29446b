"""A request's body: so many bytes at most, in so much time, and JSON."""

import asyncio
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from llava.errors import InputError, one_line
from llava.files.reading import kind_of, parse_json
from llava.serve.api.errors import Refusal

SMALL = 2**16  # bytes that are parsed at once: a thread of its own would cost more than that


async def read_content(request: Request, most_bytes: int, seconds: float) -> bytes:
    """What was sent.

    Raises:
        Refusal: 408 for a client that is too slow, 413 for a body that is too large, 400 for a client that has gone.
    """
    too_large = Refusal(413, f"a request may have at most {most_bytes:,} bytes; send smaller pictures")
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdecimal() and len(length) < 20 and int(length) > most_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                content += part
                if len(content) > most_bytes:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, f"a request must arrive within {seconds:g} seconds; send it again") from None
    except ClientDisconnect:
        raise Refusal(400, "the client has gone") from None
    return bytes(content)


async def read_body(request: Request, most_bytes: int, seconds: float) -> dict[str, Any]:
    """The JSON object that was sent.

    Raises:
        Refusal: as `read_content`, and 400 for what is no JSON object.
    """
    content = await read_content(request, most_bytes, seconds)
    try:
        told = ("the body", "what came", "send JSON")
        if len(content) <= SMALL:
            value = parse_json(content, *told)
        else:
            value = await asyncio.to_thread(parse_json, content, *told)
    except (InputError, UnicodeDecodeError) as error:
        raise Refusal(400, one_line(error), "invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, f"the body must be a JSON object: it is {kind_of(value)}", "invalid_json")
    return value
