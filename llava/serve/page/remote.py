"""The server as the page sees it: over HTTP, its refusals as one sentence."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llava.errors import InputError, one_line, shown
from llava.files.reading import parse_json

SECONDS = 600  # to wait for the next line of an answer
OTHER = "name the address of a llava.serve.server"


@dataclass(frozen=True)
class Server:
    """Where it is, and the key that it wants, if any."""

    url: str
    key: str = ""

    def model(self) -> dict[str, Any]:
        """What it says of its model: `id` and `reduction`."""
        with self._answered("GET", "/v1/models", None) as response:
            told = _object(response.read())
        try:
            return {"id": told["data"][0]["id"], "reduction": told["data"][0]["reduction"]}
        except (KeyError, IndexError, TypeError):
            raise InputError(f"the server must say what it can reduce with: it does not; {OTHER}") from None

    def kept(self, body: dict[str, Any]) -> dict[str, Any]:
        """What was kept, see `llava.serve.api.kept`."""
        with self._answered("POST", "/v1/kept", body) as response:
            return _object(response.read())

    def stream(self, body: dict[str, Any]) -> "Iterator[Heard]":
        """An answer as it grows; a reader that stops listening ends it."""
        asked = body | {"stream": True, "stream_options": {"include_usage": True}}
        heard, began = Heard(), time.perf_counter()
        with self._answered("POST", "/v1/chat/completions", asked) as response:
            for line in response:
                if line.startswith(b"data: {"):
                    heard = heard.with_event(_object(line[6:]), time.perf_counter() - began)
                    yield heard

    @contextlib.contextmanager
    def _answered(self, verb: str, path: str, body: dict[str, Any] | None) -> Iterator[http.client.HTTPResponse]:
        place = urlsplit(self.url)
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.hostname or "", place.port, timeout=SECONDS)
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        sent = None if body is None else json.dumps(body).encode()
        try:
            connection.request(verb, place.path.rstrip("/").removesuffix("/v1") + path, sent, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise InputError(_refusal(response))
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise InputError(
                f"a server must answer at {self.url}: it does not ({one_line(error) or type(error).__name__}); start "
                f"it again"
            ) from error
        finally:
            connection.close()


@dataclass(frozen=True)
class Heard:
    """What has been heard of an answer: its text, seconds to its first piece and so far, and at the end its usage."""

    text: str = ""
    first: float | None = None
    seconds: float = 0.0
    usage: dict[str, Any] | None = None

    def with_event(self, event: dict[str, Any], seconds: float) -> "Heard":
        """With one more event of the stream.

        Raises:
            InputError: for an error of the server.
        """
        if "error" in event:
            raise InputError(event["error"]["message"])
        choices = event.get("choices") or [{}]
        piece = choices[0].get("delta", {}).get("content") or ""
        first = seconds if piece and self.first is None else self.first
        return Heard(self.text + piece, first, seconds, event.get("usage") or self.usage)


def _object(text: bytes) -> dict[str, Any]:
    value = parse_json(text, "an answer", "what the server sent", OTHER)
    if not isinstance(value, dict):
        raise InputError(f"a server's answer must be a JSON object: got {shown(value)}; {OTHER}")
    return value


def _refusal(response: http.client.HTTPResponse) -> str:
    """The sentence of a refusal in OpenAI's form, or its status."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return one_line(_object(response.read())["error"]["message"])
    return f"the server refused with status {response.status} {one_line(response.reason)}"
