"""Decoding without launch overhead: one step over buffers of fixed shape, captured as a CUDA graph or compiled.

Buffers belong to the decoder, are reused by later batches of the same shape, and are filled from a cache: that of an
ordinary prefill, or on a GPU that of the prefixes, after which the questions run in a captured step of their own.
Prefixes themselves are captured too (`graphs`). Nothing is kept on the model.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch

from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.generation.fixed_parts import fixed_parts, reason_against, sees_on
from llava.model.generation.graph_pool import GraphPool, course
from llava.model.generation.graphs import Graphs
from llava.model.generation.static_prompt import columns_for, run_prompt
from llava.model.generation.static_step import StepState, clear, empty_state, fill, run_layer, run_step
from llava.model.layout import Layout
from llava.reduction.sent import sent

# Capacities are rounded up, so that prompts of similar length share one captured or compiled step.
ROUND_TO = 64
SHAPES_KEPT = 4
PROMPTS_KEPT = 16  # of each shape
SHAPES_COMPILED = 64
logger = logging.getLogger(__name__)
Step = Callable[[torch.Tensor], torch.Tensor]
Result = TypeVar("Result")


class Prompt(NamedTuple):
    """A captured step of questions: what is copied into it, and the call, which gives logits (B, V)."""

    embeds: torch.Tensor
    padding: torch.Tensor
    run: Callable[[], torch.Tensor]


@dataclass
class Held:
    """Buffers of one shape, the step over them, and the captured steps of questions by their columns.

    `in_use`: what stands in the buffers may be no numbers, which would spoil even those who do not look at them.
    """

    state: StepState
    step: Callable[[], torch.Tensor]
    prompts: OrderedDict[int, Prompt] = field(default_factory=OrderedDict)
    in_use: bool = False


class StaticDecoder:
    """Hand one to `ask` and `encode_image` (`decoder=...`), again and again; calls of several threads take turns.

    On a GPU all is captured as CUDA graphs; on a CPU its layer is compiled by inductor, which needs a C++
    compiler. Where that does not work, decoding goes on as without, and a line in the log says so, once.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._held: OrderedDict[tuple, Held] = OrderedDict()
        self._reason: str | None = None
        self._current: Held | None = None
        self._lock = threading.RLock()
        on_gpu = model.device.type == "cuda"
        self._graphs = Graphs(model.device) if on_gpu else None
        self._pool = GraphPool(model.device) if on_gpu else None
        self._look_at_model()

    @property
    def works(self) -> bool:
        """False once something could not be compiled."""
        return self._reason is None

    @property
    def graphs(self) -> Graphs | None:
        """By which prefixes are captured and replayed; None where nothing is captured."""
        return self._graphs if self.works and self._sees else None

    def decline(self, reason: str) -> None:
        """Go on without compiling, and say why the first time."""
        if self._reason is None:
            logger.warning("--compile has no effect: %s; decoding goes on uncompiled", " ".join(reason.split())[:200])
        self._reason = reason

    @contextmanager
    def used_by(self, model: Any) -> Iterator[None]:
        """For one call of a model, no other meanwhile. What was captured of it before it was changed is thrown away.

        Raises:
            InputError: for another model than it was made for.
        """
        if model.get_model() is not self._model.get_model():
            raise InputError(
                "a StaticDecoder holds steps of one model's weights: got another model's call; make one for each model"
            )
        with self._lock:
            if self.works and self._fixed_parts() != self._fixed:
                self.forget()
                self._look_at_model()
            yield

    def settle(self) -> None:
        """Told after a batch whose logits were all numbers: what stands in its buffers does no harm."""
        if self._current is not None:
            self._current.in_use = False

    def forget(self) -> None:
        """Let go of all buffers and graphs; those that are needed are made anew."""
        with self._lock:
            self._held.clear()
            self._current = None
            for kept in (self._graphs, self._pool):
                if kept is not None:
                    kept.forget()

    def _fixed_parts(self) -> list[Any]:
        return fixed_parts(self._model, self._pool is not None)

    def _look_at_model(self) -> None:
        self._fixed, self._sees = self._fixed_parts(), sees_on(self._model)
        reason = reason_against(self._model)
        if reason is not None:
            self.decline(reason)

    def rows(self, batch: int) -> int:
        """Rows to ask for, a power of two, so that few shapes are ever compiled; `batch` where nothing is."""
        return 1 << (batch - 1).bit_length() if self.works else batch

    def start(self, cache: StagedCache, batch: int, new_tokens: int) -> Step | None:
        """Take over from a prefill; None where it has to be decoded without.

        Args:
            cache: left as it is; its contents are copied.
            new_tokens: how many may follow.

        Returns:
            tokens (B,) -> logits (B, V) of the next ones.
        """
        held = self._taken(cache, batch, new_tokens)
        if held is None:
            return None
        fill(held.state, cache)
        return _stepping(held)

    def begin(
        self, cache: StagedCache, embeds: torch.Tensor, layout: Layout, new_tokens: int
    ) -> tuple[torch.Tensor, Step] | None:
        """Take over before the prefill of questions that follow what a cache holds; None: run them, then `start`.

        Args:
            cache: of prefixes; left as it is.
            embeds: (B, T, D), text, padded on the left as `layout` says.

        Returns:
            logits (B, V) of the last tokens, and as `start` does.
        """
        (batch, longest), pool = embeds.shape[:2], self._pool
        follows = bool(cache.stages) and not layout.spans  # text alone, after prefixes
        columns = columns_for(batch, longest) if follows else None
        held = self._taken(cache, batch, columns + new_tokens) if columns is not None and pool is not None else None
        if columns is None or pool is None or held is None:
            return None
        if columns not in held.prompts:
            prompt = self._attempt(lambda: self._captured_prompt(pool, held.state, columns, embeds))
            if prompt is None:
                return None
            while len(held.prompts) >= PROMPTS_KEPT:
                held.prompts.popitem(last=False)
            held.prompts[columns] = prompt
        held.prompts.move_to_end(columns)
        given, padding, run = held.prompts[columns]
        fill(held.state, cache)
        given[:, columns - longest :] = embeds
        padding.copy_(sent([[columns - length] for length in layout.lengths], padding.device))
        return run(), _stepping(held)

    def _taken(self, cache: StagedCache, batch: int, new_tokens: int) -> Held | None:
        """Buffers for a cache and so many tokens more, not filled yet."""
        assert cache.shared is None, "buffers hold whole rows"
        if cache.masking is not None:
            self.decline("the method chooses anew at every token")
        held = self._attempt(lambda: self._buffers(cache, batch, new_tokens)) if self.works else None
        if held is not None:
            if held.in_use:
                clear(held.state)
            held.in_use, self._current = True, held
        return held

    def _attempt(self, work: Callable[[], Result]) -> Result | None:
        """What is compiled or captured; None, and declined, where that cannot be."""
        try:
            return work()
        except (RuntimeError, OSError, ImportError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self.decline(f"{type(error).__name__}: {error}")
            return None

    def _buffers(self, cache: StagedCache, batch: int, new_tokens: int) -> Held:
        needed = [cache.length(stage) + new_tokens for stage in range(len(cache.stages))]
        capacities = [-(-count // ROUND_TO) * ROUND_TO for count in needed]
        bounds = [(stage.first, stage.stop) for stage in cache.stages]
        key = (course(self._model.device), batch, *capacities, *bounds)
        if key not in self._held:
            while len(self._held) >= SHAPES_KEPT:
                self._held.popitem(last=False)
            state = empty_state(cache, batch, capacities, self._model.device)
            fill(state, cache)
            self._held[key] = Held(state, self._prepared(state))
        self._held.move_to_end(key)
        return self._held[key]

    def _prepared(self, state: StepState) -> Callable[[], torch.Tensor]:
        """The step, run once or more over a state whose contents do not matter yet."""
        if self._pool is not None:
            return self._pool.capture(lambda: run_step(self._model, state))
        layer_step = torch.compile(run_layer, dynamic=False, fullgraph=True)
        # Every batch size and capacity is a graph of its own; torch gives up after eight of them.
        with torch._dynamo.config.patch(recompile_limit=SHAPES_COMPILED):
            run_step(self._model, state, layer_step)
        return lambda: run_step(self._model, state, layer_step)

    def _captured_prompt(self, pool: GraphPool, state: StepState, columns: int, like: torch.Tensor) -> Prompt:
        embeds = like.new_zeros(len(like), columns, like.shape[2])
        padding = torch.zeros(len(like), 1, dtype=torch.long, device=like.device)
        for column in state.columns:
            column.zero_()  # the run before the capture must find room
        return Prompt(embeds, padding, pool.capture(lambda: run_prompt(self._model, state, embeds, padding)))


def _stepping(held: Held) -> Step:
    def step(tokens: torch.Tensor) -> torch.Tensor:
        held.state.tokens.copy_(tokens)
        return held.step()

    return step
