"""The application: routes, keys, limits. What a request means is in `asking`, what it answers in `answers`."""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route

from llava.conversation import Conversation
from llava.reduction import Reduction
from llava.serve.api.asking import Asker
from llava.serve.api.body import read_body
from llava.serve.api.drawing import Drawer, abilities
from llava.serve.api.errors import Refusal
from llava.serve.api.metrics import Metrics
from llava.serve.api.schema import ChatRequest, read_request
from llava.serve.api.streaming import answer_at_once, answer_in_pieces
from llava.serve.engine.engine import Engine


@dataclass
class Settings:
    """How a server behaves.

    Attributes:
        name: of the model, as clients must say it.
        conv_mode: the conversation template.
        reduction: the method of requests that name none.
        keys: API keys of which one must be sent; none: everybody may ask.
        most_bytes: of a request's body.
        body_seconds: a request's body must have arrived by then.
        most_waiting: requests in the queue above which new ones are refused.
        default_tokens: length limit of an answer where a request says none.
        fetch: gets the bytes of an `https:` picture; None: such pictures are refused.
    """

    name: str
    conv_mode: str | Conversation
    reduction: Reduction
    keys: tuple[str, ...] = ()
    most_bytes: int = 32 * 2**20
    body_seconds: float = 60.0
    most_waiting: int = 256
    default_tokens: int = 512
    fetch: Callable[[str], bytes] | None = None
    draining: bool = field(default=False)  # set once the server is to end: what runs is answered, the rest refused


def build_app(loaded: Any, engine: Engine, settings: Settings) -> FastAPI:
    """The application over a running engine."""
    app = FastAPI(title="VisionDrop", docs_url=None, redoc_url=None, openapi_url=None)
    metrics, asker = Metrics(engine), Asker(loaded, engine, settings)
    drawer, reductions = Drawer(loaded, asker, settings), abilities(loaded.model.geometry)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        if request.url.path == "/v1/chat/completions":
            metrics.requests.labels(error.status).inc()
        return error.response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return Refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response()

    def allow(request: Request) -> None:
        if not settings.keys:
            return
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        known = [hmac.compare_digest(key.strip().encode(), own.encode()) for own in settings.keys]
        if kind.lower() != "bearer" or not any(known):
            raise Refusal(401, "an API key must be sent as 'Authorization: Bearer KEY': it was not", "invalid_api_key")

    @app.get("/health")
    async def health() -> Response:
        state = "draining" if settings.draining else "ok"
        return JSONResponse({"status": state, "model": settings.name}, 503 if settings.draining else 200)

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models(request: Request) -> dict:
        allow(request)
        return {"object": "list", "data": [_model(settings.name, reductions)]}

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> dict:
        allow(request)
        asker.check_model(name)
        return _model(settings.name, reductions)

    async def asked_of(request: Request) -> ChatRequest:
        allow(request)
        if settings.draining:
            raise Refusal(503, "the server is shutting down; ask another one")
        return read_request(await read_body(request, settings.most_bytes, settings.body_seconds))

    @app.post("/v1/kept")
    async def kept(request: Request) -> dict:
        return await drawer.draw(await asked_of(request))

    async def chat(request: Request) -> Response:
        arrived = time.monotonic()
        job = await asker.prepare(asked := await asked_of(request))
        answer = answer_in_pieces if asked.stream else answer_at_once
        return await answer(request, asked, job, metrics, arrived)

    # Not `app.post`: what FastAPI does for each request besides calling it costs as much as reading the request.
    app.router.routes.append(Route("/v1/chat/completions", chat, methods=["POST"]))
    return app


def _model(name: str, reductions: dict[str, Any]) -> dict:
    return {"id": name, "object": "model", "created": 0, "owned_by": "visiondrop", "reduction": reductions}
