"""A server on the shipped model, in this process, on a free port of this machine."""

import asyncio
import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import uvicorn

from llava.eval.runs.loading import Loaded
from llava.model.builder import load_pretrained_model
from llava.reduction import create
from llava.serve.api.app import Settings, build_app
from llava.serve.api.connections import patient_for
from llava.serve.engine.engine import Engine

SHAPES = Path(__file__).parents[2] / "playground/shapes"


def data_url(number: int = 0) -> str:
    """A picture of shapes as a `data:` address."""
    content = (SHAPES / f"images/{number:05d}.png").read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def user(text: str, *urls: str) -> dict[str, Any]:
    """A user's message about pictures."""
    parts: list[dict] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def shipped() -> Loaded:
    """The small model that ships with the repository, in float32 on the CPU."""
    with torch.inference_mode(False):
        tokenizer, model, processor, _ = load_pretrained_model(
            str(SHAPES / "llava-shapes"), None, "llava-shapes", device="cpu", torch_dtype=torch.float32
        )
    return Loaded(tokenizer, model, processor)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Until something holds; a busy machine takes its time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Served:
    """A running server: where it is, its engine and its settings."""

    def __init__(self, url: str, engine: Engine, settings: Settings) -> None:
        self.url, self.engine, self.settings = url, engine, settings


@contextlib.contextmanager
def served(
    loaded: Loaded, most_rows: int = 8, unread_seconds: float = 60, send_buffer: int | None = None, **settings: Any
) -> Iterator[Served]:
    """Serve while the block runs. `send_buffer`: bytes that the system takes for a client who does not read."""
    usual = {"name": "llava-shapes", "conv_mode": "vicuna_v1", "reduction": create("none"), "default_tokens": 16}
    chosen = Settings(**usual | settings)
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    with Engine(loaded, 2**26, most_rows) as engine:
        app, patient = build_app(loaded, engine, chosen), patient_for(chosen.body_seconds, unread_seconds)
        server = uvicorn.Server(uvicorn.Config(app, http=patient, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", engine, chosen)
        finally:
            for batch in list(engine._batches.values()):  # what a failed test has left
                for row in batch.rows:
                    row.request.cancelled = True
            server.should_exit = True
            thread.join()
