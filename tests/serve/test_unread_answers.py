"""Clients that do not read their answers: one that takes nothing is let go and its row freed, a slow one is served."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from served import served, shipped, user, wait_until

from llava.serve.api.connections import patient_for

SMALL = 4096  # bytes of a buffer, so that little fills it
LONG = 2**20
TAKEN = 2**16


def connected(url: str) -> socket.socket:
    """A connection whose client's system holds little of what nobody reads."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    connection.settimeout(60)
    connection.connect((host, int(port)))
    return connection


def everything(connection: socket.socket) -> Iterator[bytes]:
    """What comes until the connection ends."""
    while part := connection.recv(TAKEN):
        yield part


def test_whoever_takes_nothing_of_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava.serve.api.asking.Asker._longest", lambda _: 10**6)
    body: dict[str, Any] = {"model": "llava-shapes", "messages": [user("hi")], "stream": True, "max_tokens": 10**5}
    body |= {"ignore_eos": True, "logprobs": True, "top_logprobs": 20}
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with served(shipped(), unread_seconds=0.3, send_buffer=SMALL) as server, connected(server.url) as connection:
        connection.sendall(head.encode() + content)
        wait_until(lambda: server.engine.running == 1)
        wait_until(lambda: server.engine.running == server.engine.waiting == 0)
        assert b"[DONE]" not in b"".join(everything(connection))  # it ends, though not as an answer does


def test_whoever_takes_an_answer_slowly_gets_all_of_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * LONG})

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    server = uvicorn.Server(uvicorn.Config(app, http=patient_for(60, 0.2), log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        with connected(f"http://127.0.0.1:{listener.getsockname()[1]}") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            began, count = time.monotonic(), 0
            for part in everything(connection):
                count += part.count(b"x")
                time.sleep(0.02 if time.monotonic() - began < 1 else 0)
            assert count == LONG and time.monotonic() - began > 0.8
    finally:
        server.should_exit = True
        thread.join()
