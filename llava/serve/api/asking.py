"""From a checked chat request to what the engine is asked."""

import asyncio
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llava.errors import InputError, one_line
from llava.model.geometry import image_geometry_of
from llava.reduction import Reduction, name_of, resolve
from llava.reduction.positions import written_settings
from llava.serve.api.answers import Form
from llava.serve.api.errors import Refusal
from llava.serve.api.inbox import Inbox, Postman
from llava.serve.api.pictures import Opener
from llava.serve.api.prompt import prompt_of
from llava.serve.api.schema import ChatRequest
from llava.serve.api.tokens import SHORT, PromptIds
from llava.serve.engine.engine import Engine
from llava.serve.engine.request import End, Piece, Request, Sampling


@dataclass(frozen=True)
class Job:
    """A chat request on its way.

    Attributes:
        requests: one for each choice.
        inbox: (choice, event) as the engine says them.
        form: how the answer is written.
        begin: hands the requests to the engine.
    """

    requests: list[Request]
    inbox: Inbox
    form: Form
    engine: Engine

    def begin(self) -> None:
        """Ask the engine."""
        try:
            for request in self.requests:
                self.engine.submit(request)
        except InputError as error:
            self.cancel()
            raise Refusal(503, str(error)) from None

    def cancel(self) -> None:
        """Nobody waits any more: the rows are freed at the next token."""
        for request in self.requests:
            request.cancelled = True


class Asker:
    """Turns requests into jobs. `settings` is the application's."""

    def __init__(self, loaded: Any, engine: Engine, settings: Any) -> None:
        self._loaded, self._engine, self._settings = loaded, engine, settings
        self._open, self._ids = Opener(loaded, settings.fetch), PromptIds(loaded.tokenizer)
        self._postman: Postman | None = None
        self._stops = loaded.stops(settings.conv_mode)
        self._ends = tuple(end for end in self._stops.ids if end not in engine.ends)

    def check_model(self, name: str) -> None:
        """Refuse another model's name."""
        if name != self._settings.name:
            raise Refusal(
                404,
                f"the model {name[:100]!r} is not here: this server has {self._settings.name!r}",
                "model_not_found",
                "model",
            )

    async def prepare(self, asked: ChatRequest) -> Job:
        """Read pictures, tokenise, and check everything that can be known before the model runs.

        Raises:
            Refusal: saying what is wrong with the request, or that the queue is full.
        """
        self.check_model(asked.model)
        settings = self._settings
        if self._engine.waiting + (asked.n or 1) > settings.most_waiting:
            raise Refusal(429, f"{self._engine.waiting} requests are waiting already; try again in a while")
        method = self._method(asked.reduction)
        start_end = getattr(self._loaded.model.config, "mm_use_im_start_end", False)
        prompt = prompt_of(asked.messages, settings.conv_mode, start_end)
        pictures = await self._open.all(prompt.urls)
        if len(prompt.text) > SHORT:
            ids = await asyncio.to_thread(self._ids.of, prompt.text)
        else:  # a thread of its own would cost more than that
            ids = self._ids.of(prompt.text)
        limit = self._room(asked, ids, pictures, method)
        inbox = Inbox()
        try:
            requests = [
                Request(ids, pictures, method, self._sampling(asked, limit, seed), self._emitter(inbox, index))
                for index, seed in enumerate(_seeds(asked))
            ]
        except InputError as error:
            raise Refusal(400, one_line(error)) from None
        extra = {"reduction": {"method": name_of(method), **written_settings(method)}}
        form = Form(f"chatcmpl-{uuid.uuid4().hex}", settings.name, self._loaded.tokenizer, extra)
        return Job(requests, inbox, form, self._engine)

    def _sampling(self, asked: ChatRequest, limit: int, seed: int) -> Sampling:
        stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
        return Sampling(
            max_tokens=limit,
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            seed=seed,
            stop=stop + self._stops.texts,
            logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
            ends=self._ends,
            endless=bool(asked.ignore_eos),
        )

    def _emitter(self, inbox: Inbox, index: int) -> Callable[[Piece | End], None]:
        """What brings the events of one choice into an inbox of the loop that runs."""
        loop = asyncio.get_running_loop()
        if self._postman is None or self._postman.loop is not loop:
            self._postman = Postman(loop)
        post = self._postman.post
        return lambda event: post(inbox, (index, event))

    def _method(self, given: str | dict[str, Any] | None) -> Reduction:
        """The method a request names: a name, or its settings, or a name with `retain`."""
        if given is None:
            return self._settings.reduction
        try:
            return resolve(given, self._loaded.model.geometry)
        except (InputError, TypeError) as error:
            raise Refusal(400, one_line(error), "invalid_value", "reduction") from None

    def _room(self, asked: ChatRequest, ids: tuple[int, ...], pictures: Any, method: Reduction) -> int:
        """How many tokens the answer may have.

        Raises:
            Refusal: 400, where the prompt leaves no room for what was asked for.
        """
        model, longest = self._loaded.model, self._longest()
        tower = model.get_vision_tower()
        prompt = len(ids) - len(pictures)
        for picture in pictures:
            views = len(picture.pixels) if picture.pixels.ndim == 4 else 1
            own = image_geometry_of(model.config, tower.config, views, picture.size, picture.modality)
            prompt += own.most_tokens if method.keeps_gaps else method.tokens_per_stage(own)[0]
        wanted = asked.max_completion_tokens or asked.max_tokens
        if prompt + (wanted or 1) > longest:
            raise Refusal(
                400,
                f"the prompt of {prompt} tokens and an answer of {wanted or 1} do not fit into the model's context of "
                f"{longest}; ask for less, with fewer pictures or a smaller reduction",
                "context_length_exceeded",
                "messages",
            )
        return wanted or min(self._settings.default_tokens, longest - prompt)

    def _longest(self) -> int:
        config = self._loaded.model.config
        limits = (config.max_position_embeddings, getattr(config, "tokenizer_model_max_length", None))
        return min(limit for limit in limits if limit)


def _seeds(asked: ChatRequest) -> list[int]:
    """A seed for each choice."""
    first = asked.seed if asked.seed is not None else random.getrandbits(48)
    return [first + index for index in range(asked.n or 1)]
