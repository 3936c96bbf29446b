"""HTTP clients that ask a server about pictures, many at once, and keep the time."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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


class RefusedError(Exception):
    """A server has answered with another status than 200."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.content = status, content


def chat_body(model: str, picture: Path | None, question: str, **more: Any) -> bytes:
    """A request about a picture file, as JSON."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if picture is not None:
        content = base64.b64encode(read_bytes(picture, "a picture")).decode()
        parts.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{content}"}})
    body = {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, "stream": True}
    return json.dumps(body | more).encode()


def pieces(url: str, body: bytes) -> Iterator[str]:
    """Send one request for a stream; its pieces of text as they come. A reader that stops listening goes away.

    Raises:
        InputError: where there is no server.
        RefusedError: for any status but 200.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=600)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RefusedError(response.status, response.read())
        for line in response:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:]).get("choices") or [{}]
                piece = choices[0].get("delta", {}).get("content")
                if piece:
                    yield piece
    except OSError as error:
        raise InputError(f"a server must answer at {url}: it does not ({error}); start one first") from error
    finally:
        connection.close()


def ask(url: str, body: bytes) -> Answer:
    """Send one request and read its stream to the end; InputError where there is no server."""
    began, first, text = time.perf_counter(), 0.0, []
    try:
        for piece in pieces(url, body):
            first = first or time.perf_counter() - began
            text.append(piece)
    except RefusedError as refused:
        return Answer(refused.status, "", 0.0, time.perf_counter() - began)
    return Answer(200, "".join(text), first or time.perf_counter() - began, time.perf_counter() - began)


def ask_at_once(url: str, bodies: Sequence[bytes], clients: int) -> tuple[list[Answer], float]:
    """All requests, each client one after the other; their answers in order, and the seconds for all."""
    answers: dict[int, Answer] = {}

    def send(number: int) -> None:
        answers[number] = ask(url, bodies[number])

    seconds = timed(lambda: each_of(range(len(bodies)), send, clients))
    return [answers[number] for number in range(len(bodies))], seconds


def each_of(numbers: Sequence[int], work: Callable[[int], None], clients: int) -> None:
    """Do something for every number in so many threads; the first error of one is raised here."""
    left, lock = iter(numbers), threading.Lock()
    failed: list[Exception] = []

    def client() -> None:
        while not failed:
            with lock:
                number = next(left, None)
            if number is None:
                return
            try:
                work(number)
            except Exception as error:  # raised again below, in the thread that waits
                failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
