"""An HTTP request on its way to a replica, and what of it decides which replica that is."""

import hashlib
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError
from llava.files.reading import parse_json

# Replicas tell Ray which slots they have. Pictures are so many that a slot of each would fill Ray's tables.
SLOTS = 512


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
        headers: names in lower case, as ASGI has them.
        slot: requests with the same one go to the same replica where that can be; "": to any.
    """

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    slot: str = ""


@dataclass(frozen=True)
class Head:
    """How an answer begins."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def streams(self) -> bool:
        """Whether the answer comes in pieces."""
        kinds = [value for name, value in self.headers if name == b"content-type"]
        return any(kind.startswith(b"text/event-stream") for kind in kinds)


def slot_of(body: bytes) -> str:
    """The slot of a chat request: by the content of its first picture, which a conversation keeps from turn to turn.

    "" for a request without a picture, and for what is no request: the replica says what is wrong with it.
    """
    try:
        request = parse_json(body, "the body", "what came", "send JSON")
    except (InputError, UnicodeDecodeError):
        return ""
    url = _first_picture(request)
    if url is None:
        return ""
    content = url.partition(",")[2] if url[:5].lower() == "data:" else url
    digest = hashlib.sha256(content.encode(errors="surrogatepass")).digest()
    return f"pictures-{int.from_bytes(digest[:8]) % SLOTS}"


def _first_picture(request: Any) -> str | None:
    messages = request.get("messages") if isinstance(request, dict) else None
    for message in messages if isinstance(messages, list) else []:
        parts = message.get("content") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else []:
            place = part.get("image_url") if isinstance(part, dict) else None
            url = place.get("url") if isinstance(place, dict) else None
            if isinstance(url, str):
                return url
    return None
