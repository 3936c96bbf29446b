"""One of the servers behind the front: a model, its engine, and the application over them."""

from collections.abc import AsyncIterator, Sequence

from ray import serve

from llava.serve.api.app import build_app
from llava.serve.engine.engine import Engine
from llava.serve.ray.asgi import respond
from llava.serve.ray.call import SLOTS, Call, Head
from llava.serve.ray.flags import parse
from llava.serve.server import prepare


class Replica:
    """A deployment that works on a GPU.

    Args:
        flags: those of `llava.serve.server`.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        args = parse(flags)
        loaded, settings, prefix_bytes = prepare(args)
        self._engine = Engine(loaded, prefix_bytes, args.max_rows)
        self._engine.__enter__()  # until the process ends: Ray lets the running requests end before
        self._app = build_app(loaded, self._engine, settings)
        self._name = serve.get_replica_context().replica_id.unique_id.encode()

    async def answer(self, call: Call) -> AsyncIterator[Head | bytes]:
        """The answer to a request, its head first; headers say which replica it is, and how much it has to do."""
        if call.slot:
            await self.hold(call.slot)
        async for part in respond(self._app, call):
            if isinstance(part, Head):
                busy = str(self._engine.running + self._engine.waiting).encode()
                part = Head(part.status, (*part.headers, (b"x-replica", self._name), (b"x-replica-busy", busy)))
            yield part

    @serve.multiplexed(max_num_models_per_replica=SLOTS)
    async def hold(self, slot: str) -> str:
        """Have Ray know that pictures of this slot are known here."""
        return slot

    def check_health(self) -> None:
        """Ray's question; one that raises is started anew."""
        if not self._engine.alive:
            raise RuntimeError("the engine's thread has ended")
