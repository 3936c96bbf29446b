"""Who is told what was kept: requests are drawn one at a time, and what each method can do is said once."""

import asyncio
from typing import Any

from llava.errors import InputError
from llava.reduction import Geometry, available, resolve
from llava.reduction.methods.none import Unreduced
from llava.reduction.registry import method_class
from llava.serve.api.asking import Asker
from llava.serve.api.errors import Refusal
from llava.serve.api.kept import kept_of
from llava.serve.api.pictures import opened
from llava.serve.api.prompt import prompt_of
from llava.serve.api.schema import ChatRequest
from llava.serve.engine.engine import failure

MOST_WAITING = 16  # drawings that may be waited for; each takes a second or so


class Drawer:
    """Draws what was kept. `settings` is the application's."""

    def __init__(self, loaded: Any, asker: Asker, settings: Any) -> None:
        self._loaded, self._asker, self._settings = loaded, asker, settings
        self._turn, self._here = asyncio.Lock(), 0

    async def draw(self, asked: ChatRequest) -> dict[str, Any]:
        """The answer to a request, see `kept_of`.

        Raises:
            Refusal: as for a chat; for requests about no picture or several; 429 where too many wait.
        """
        if self._here >= MOST_WAITING:
            raise Refusal(429, f"{self._here} drawings are waited for already; try again in a while")
        self._here += 1
        try:
            return await self._drawn(asked)
        finally:
            self._here -= 1

    async def _drawn(self, asked: ChatRequest) -> dict[str, Any]:
        job = await self._asker.prepare(asked)
        request = job.requests[0]
        if len(request.pictures) != 1:
            count = len(request.pictures)
            raise Refusal(400, f"what was kept is drawn of one picture: the request has {count}", param="messages")
        (url,) = prompt_of(asked.messages, self._settings.conv_mode, False).urls
        picture = await asyncio.to_thread(opened, url, "image 1", self._settings.fetch)
        async with self._turn:
            try:
                drawn = await asyncio.to_thread(kept_of, self._loaded, request, picture)
            except Exception as error:
                end = failure(error)
                raise Refusal(400 if end.refused else 500, end.error) from None
        return {"model": asked.model, **job.form.extra, **drawn}


def abilities(geometry: Geometry) -> dict[str, Any]:
    """`methods` that can be given a budget on this model and `none`, and `most_tokens` of a picture."""
    return {
        "methods": [name for name in available() if _takes_a_budget(name, geometry)],
        "most_tokens": geometry.most_tokens,
    }


def _takes_a_budget(name: str, geometry: Geometry) -> bool:
    if method_class(name) is Unreduced:
        return True
    try:
        resolve({"method": name, "retain": max(1, geometry.most_tokens // 4)}, geometry)
    except InputError:
        return False
    return True
