"""HTTP clients that ask a server about pictures, many at once, and keep the time."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llava.errors import InputError
from llava.files.reading import read_bytes


@dataclass(frozen=True)
class Answer:
    """One answer: HTTP's status, its text, and seconds to its first piece and to its end."""

    status: int
    text: str
    first: float
    whole: float


def chat_body(model: str, picture: Path | None, question: str, **more: Any) -> bytes:
    """A request about a picture file, as JSON."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        content = base64.b64encode(read_bytes(picture, "a picture")).decode()
        parts.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}})
    body = {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, "stream": True}
    return json.dumps(body | more).encode()


def ask(url: str, body: bytes) -> Answer:
    """Send one request and read its stream to the end.

    Raises:
        InputError: where there is no server.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
    began, first, text = time.perf_counter(), 0.0, []
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            response.read()
        else:
            for line in response:
                if not line.startswith(b"data: {"):
                    continue
                choices = json.loads(line[6:]).get("choices") or [{}]
                piece = choices[0].get("delta", {}).get("content")
                if piece:
                    first = first or time.perf_counter() - began
                    text.append(piece)
        return Answer(response.status, "".join(text), first, time.perf_counter() - began)
    except OSError as error:
        raise InputError(f"a server must answer at {url}: it does not ({error}); start one first") from error
    finally:
        connection.close()


def ask_at_once(url: str, bodies: Sequence[bytes], clients: int) -> tuple[list[Answer], float]:
    """All requests, each client one after the other; their answers in order, and the seconds for all."""
    answers: list[Answer | None] = [None] * len(bodies)
    numbers, lock = iter(range(len(bodies))), threading.Lock()
    failed: list[Exception] = []

    def client() -> None:
        while not failed:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                answers[number] = ask(url, bodies[number])
            except Exception as error:  # raised again below, in the thread that waits
                failed.append(error)

    seconds = timed(lambda: _together(client, clients))
    if failed:
        raise failed[0]
    return [answer for answer in answers if answer is not None], seconds


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
