"""Answers on their way out: whole, or as server-sent events while they grow. A client that goes away frees its rows."""

import contextlib
import json
import time
from collections.abc import AsyncGenerator

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from llava.serve.api.asking import Job
from llava.serve.api.errors import Refusal
from llava.serve.api.inbox import Event
from llava.serve.api.metrics import Metrics
from llava.serve.api.schema import ChatRequest
from llava.serve.engine.request import End, Piece

LOOK_FOR_CLIENT = 0.25  # seconds between looks whether a waiting client is still there


async def answer_at_once(request: Request, asked: ChatRequest, job: Job, metrics: Metrics, arrived: float) -> Response:
    """All choices as one object."""
    pieces: list[list[Piece]] = [[] for _ in job.requests]
    ends: list[End | None] = [None] * len(pieces)
    heard, listener = _Heard(metrics, arrived), _Listener(request, job)
    try:
        job.begin()
        while None in ends:
            for index, event in await listener.next():
                heard.note(event)
                if isinstance(event, End):
                    ends[index] = event
                    _refuse_failed(event)
                else:
                    pieces[index].append(event)
    finally:
        job.cancel()
    metrics.requests.labels(200).inc()
    return JSONResponse(job.form.whole([(own, end) for own, end in zip(pieces, ends) if end is not None]))


async def answer_in_pieces(
    request: Request, asked: ChatRequest, job: Job, metrics: Metrics, arrived: float
) -> Response:
    """Server-sent events. What fails before the first piece is an error with its status, later an error event."""
    heard, listener = _Heard(metrics, arrived), _Listener(request, job)
    try:
        job.begin()
        came = await listener.next()
        if isinstance(came[0][1], End):
            _refuse_failed(came[0][1])
    except BaseException:
        job.cancel()
        raise
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    events = _events(job, listener, heard, came, with_usage)
    metrics.requests.labels(200).inc()
    return _Events(events)


async def _events(
    job: Job, listener: "_Listener", heard: "_Heard", came: list[Event], with_usage: bool
) -> AsyncGenerator[str, None]:
    """What is sent: all that came at once in one go."""
    ends: list[End] = []
    sent = [_sent(job.form.chunk(index, {"role": "assistant", "content": ""})) for index in range(len(job.requests))]
    try:
        while True:
            for index, event in came:
                heard.note(event)
                if isinstance(event, Piece):
                    if event.text or event.logprob is not None:
                        sent.append(_sent(job.form.chunk(index, {"content": event.text}, event)))
                elif event.reason == "error":
                    yield "".join([*sent, _sent(Refusal(500, event.error).body())])
                    return
                else:
                    ends.append(event)
                    sent.append(_sent(job.form.chunk(index, {}, reason=event.reason)))
            if len(ends) == len(job.requests):
                break
            if sent:
                yield "".join(sent)
            sent, came = [], await listener.next()
        if with_usage:
            sent.append(_sent(job.form.usage_chunk(ends)))
        yield "".join([*sent, "data: [DONE]\n\n"])
    except Refusal:
        return  # nobody is there to hear it
    finally:
        job.cancel()


class _Events(Response):
    """Server-sent events as they come. Whoever makes them looks for the client, so that no task of its own has to."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        self._events, self.status_code, self.background = events, 200, None
        self.init_headers({"Cache-Control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._events) as events:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for text in events:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Heard:
    """Counts what the engine says of one chat request."""

    def __init__(self, metrics: Metrics, arrived: float) -> None:
        self._metrics, self._arrived, self._first = metrics, arrived, True

    def note(self, event: Piece | End) -> None:
        """Count one event."""
        if self._first:
            self._metrics.first_token.observe(time.monotonic() - self._arrived)
            self._first = False
        if isinstance(event, End):
            for name in ("prompt_tokens", "image_tokens", "cached_tokens", "answer_tokens"):
                getattr(self._metrics, name).inc(getattr(event, name))


class _Listener:
    """Events of a job for as long as its client is there."""

    def __init__(self, request: Request, job: Job) -> None:
        self._request, self._job, self._looked = request, job, time.monotonic()

    async def next(self) -> list[Event]:
        """The next events, at least one; Refusal where the client has gone meanwhile, however busy the engine is."""
        while True:
            if time.monotonic() - self._looked > LOOK_FOR_CLIENT:
                self._looked = time.monotonic()
                if await self._request.is_disconnected():
                    raise Refusal(499, "the client has gone")
            events = await self._job.inbox.next(LOOK_FOR_CLIENT)
            if events:
                return events


def _refuse_failed(end: End) -> None:
    if end.reason == "error":
        raise Refusal(400 if end.refused else 500, end.error)


def _sent(value: dict) -> str:
    return f"data: {json.dumps(value)}\n\n"
