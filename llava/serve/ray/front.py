"""What stands before the replicas: it reads a request, and sends it where its picture is known."""

import asyncio
import traceback
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request, Response
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from llava.serve.api.body import read_content
from llava.serve.api.errors import Refusal
from llava.serve.ray.call import Call, Head, slot_of
from llava.serve.ray.relay import Lost, relay

CHAT = ("/v1/chat/completions", "/v1/kept")


class Front:
    """A deployment that answers HTTP requests; it needs no GPU.

    Args:
        replicas: the handle of the deployment of `Replica`.
        most_bytes: of a request's body.
        body_seconds: a request's body must have arrived by then.
        answer_seconds: an answer must have begun by then.
    """

    def __init__(self, replicas: Any, most_bytes: int, body_seconds: float, answer_seconds: float) -> None:
        self._replicas = replicas.options(stream=True, method_name="answer")
        self._most_bytes, self._body_seconds, self._answer_seconds = most_bytes, body_seconds, answer_seconds

    async def __call__(self, request: Request) -> Response:
        """Ray's call."""
        try:
            call = await self._read(request)
            async with asyncio.timeout(self._answer_seconds):
                return await relay(lambda: self._ask(call))
        except TimeoutError:
            late = f"no replica answered within {self._answer_seconds:g} seconds; try again in a while"
            return Refusal(503, late).response()
        except Refusal as error:
            return error.response()

    async def _read(self, request: Request) -> Call:
        path = request.url.path
        if path == "/metrics":
            raise Refusal(404, "each replica has numbers of its own: got /metrics; ask Ray's own endpoint for metrics")
        body = await read_content(request, self._most_bytes, self._body_seconds)
        slot = await asyncio.to_thread(slot_of, body) if path in CHAT else ""
        headers = tuple(request.headers.raw)
        return Call(request.method, path, request.url.query.encode(), headers, body, slot)

    async def _ask(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        replicas = self._replicas.options(multiplexed_model_id=call.slot) if call.slot else self._replicas
        answer = replicas.remote(call)
        try:
            async for part in answer:
                yield part
        except RayActorError as error:
            raise Lost from error
        except BackPressureError:
            raise Refusal(429, "too many requests are waiting already; try again in a while") from None
        except DeploymentUnavailableError:
            raise Refusal(503, "the model could not be started; the log of its replicas says why") from None
        except RayError as error:  # of the replica's own code
            traceback.print_exception(error)
            raise Refusal(500, "the server failed to answer; its log says why") from None
        finally:
            answer.cancel()  # of one that has ended it is nothing
