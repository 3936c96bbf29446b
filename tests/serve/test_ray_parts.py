"""What the application on Ray Serve is made of, without Ray."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from served import user

from llava.errors import InputError
from llava.serve.api.errors import Refusal
from llava.serve.ray.asgi import respond
from llava.serve.ray.call import SLOTS, Call, Head, slot_of
from llava.serve.ray.flags import flags_of, parse
from llava.serve.ray.relay import ATTEMPTS, Lost, relay

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


def body(*messages: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages)}).encode()


def test_a_picture_has_one_slot_whatever_is_asked_about_it() -> None:
    first, other = "data:image/png;base64,QUJD", "data:image/png;base64,QUJE"
    asked = user("Where?", first)
    slot = slot_of(body(asked))
    assert slot == slot_of(body(user("What?", "data:image/x-png;base64,QUJD")))
    assert slot == slot_of(body(asked, {"role": "assistant", "content": "left"}, user("And?", other)))
    assert slot != slot_of(body(user("Where?", other)))
    known = {slot_of(body(user("?", f"https://a/{number}"))) for number in range(200)}
    assert 100 < len(known) <= SLOTS


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", body(user("hi")), body({"role": "user", "content": "hi"}), b'{"messages": 3}']
    + [b'{"messages": [3, {"content": [4, {"image_url": 5}, {"image_url": {"url": 6}}]}]}'],
)
def test_what_has_no_picture_may_go_to_any_replica(content: bytes) -> None:
    assert slot_of(content) == ""


def application(seen: list[str]) -> FastAPI:
    app = FastAPI()

    @app.post("/whole")
    async def whole(request: Request) -> JSONResponse:
        return JSONResponse({"said": (await request.body()).decode(), "q": request.url.query}, 201, {"x-own": "1"})

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            try:
                for number in range(10**6):
                    yield f"data: {number}\n\n"
                    await asyncio.sleep(0)
            finally:
                seen.append("ended")

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @app.post("/waits")
    async def waits(request: Request) -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        seen.append("noticed")

    return app


def call(path: str) -> Call:
    return Call("POST", path, b"a=b", ((b"content-type", b"text/plain"),), b"hello")


def test_an_application_answers() -> None:
    async def parts() -> list[Any]:
        return [part async for part in respond(application([]), call("/whole"))]

    head, *content = asyncio.run(parts())
    assert head.status == 201 and (b"x-own", b"1") in head.headers and not head.streams
    assert json.loads(b"".join(content)) == {"said": "hello", "q": "a=b"}


def test_an_application_hears_that_its_client_has_gone() -> None:
    seen: list[str] = []

    async def leave() -> None:
        answer = respond(application(seen), call("/stream"))
        assert (await anext(answer)).streams
        assert await anext(answer) == b"data: 0\n\n"
        await answer.aclose()
        waiting = asyncio.create_task(anext(respond(application(seen), call("/waits"))))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())
    assert seen == ["ended", "noticed"]


def test_what_an_application_lets_through_is_raised() -> None:
    async def broken(*_: Any) -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        asyncio.run(anext(respond(broken, call("/"))))  # type: ignore[arg-type]


class Replicas:
    """Each answers with the next of these lists: parts, or an error to raise."""

    def __init__(self, *answers: list[Any]) -> None:
        self.left = list(answers)

    async def ask(self) -> AsyncIterator[Any]:
        for part in self.left.pop(0):
            if isinstance(part, Exception):
                raise part
            yield part


async def _passed_on(replicas: Replicas) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    response = await relay(replicas.ask)
    if isinstance(response, StreamingResponse):
        content = b"".join([part async for part in response.body_iterator])  # type: ignore[misc]
    else:
        content = response.body
    return response.status_code, response.raw_headers, content


def test_a_stream_whose_client_goes_is_closed() -> None:
    seen = []

    async def replica() -> AsyncIterator[Any]:
        try:
            yield Head(200, (STREAM,))
            while True:
                yield b"data: 1\n\n"
        finally:
            seen.append("closed")

    async def leave() -> None:
        pieces = (await relay(replica)).body_iterator  # type: ignore[attr-defined, arg-type]
        assert await anext(pieces) == b"data: 1\n\n"
        await pieces.aclose()
        assert seen == ["closed"]

    asyncio.run(leave())


def test_a_replica_lost_before_its_answer_is_replaced() -> None:
    whole = [Head(400, ((b"content-type", b"application/json"), (b"content-length", b"99"))), b'{"a"', b":1}"]
    lost = [[Lost()], [whole[0], whole[1], Lost()]]  # before the answer, and in the middle of one that is not streamed
    status, headers, content = asyncio.run(_passed_on(Replicas(*lost, whole)))
    assert (status, content) == (400, b'{"a":1}')
    assert sorted(headers) == [(b"content-length", b"7"), (b"content-type", b"application/json")]


def test_a_stream_whose_replica_is_lost_ends_with_an_error() -> None:
    replicas = Replicas([Lost()], [Head(200, (STREAM,)), b"data: 1\n\n", Lost()], [b"never asked"])
    status, headers, content = asyncio.run(_passed_on(replicas))
    assert status == 200 and headers == [STREAM] and len(replicas.left) == 1
    first, last = content.decode().split("\n\n")[:2]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert first == "data: 1" and error["type"] == "server_error" and "lost" in error["message"]


def test_replicas_that_are_all_lost_are_an_error_in_openais_form() -> None:
    replicas = Replicas(*[[Lost()]] * ATTEMPTS, [b"never asked"])
    with pytest.raises(Refusal, match="replicas were lost") as caught:
        asyncio.run(_passed_on(replicas))
    assert caught.value.status == 503 and len(replicas.left) == 1


def test_refusals_are_not_asked_again() -> None:
    full = Refusal(429, "full")
    with pytest.raises(Refusal, match="full"):
        asyncio.run(_passed_on(Replicas([full])))
    _, _, content = asyncio.run(_passed_on(Replicas([Head(200, (STREAM,)), full])))
    assert json.loads(content.removeprefix(b"data: "))["error"]["type"] == "rate_limit_error"


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(OSError, match="disk"):
        asyncio.run(_passed_on(Replicas([OSError("disk")])))


def test_settings_are_the_servers_flags() -> None:
    args = {"retain": 64, "layer_list": [8, 16], "fetch": True, "load-4bit": False, "api-key": ["a", "b"], "seed": None}
    flags = flags_of(args)
    assert flags == ["--retain=64", "--layer_list=[8,16]", "--fetch", "--api-key=a", "--api-key=b"]
    read = parse(flags)
    assert (read.retain, read.layer_list, read.fetch, read.api_key) == (64, "[8,16]", True, ["a", "b"])


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({"port": 80}, "Ray's http_options"),
        ({"--retain": 3}, "without their dashes"),
        ({3: 3}, "without their dashes"),
        ({"retian": 3}, "unrecognized arguments: --retian=3"),
        ({"retain": "many"}, "retain"),
        ({"fetch": "yes"}, "fetch"),
    ],
)
def test_settings_that_are_none_are_refused_in_one_line(args: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        parse(flags_of(args))
    assert "\n" not in str(caught.value)
