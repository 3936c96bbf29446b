"""Decoding without launch overhead: one step over buffers of fixed shape, captured as a CUDA graph or compiled.

Buffers belong to the decoder, are reused by later batches of the same shape, and are filled from a cache: that of an
ordinary prefill, or on a GPU that of the prefixes, after which the questions run in a captured step of their own.
Prefixes themselves are captured too (`graphs`). Nothing is kept on the model.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch

from llava.model.cache.staged_cache import StagedCache
from llava.model.devices import is_offloaded
from llava.model.generation.graphs import Graphs, as_graph
from llava.model.generation.static_prompt import columns_for, run_prompt
from llava.model.generation.static_step import StepState, empty_state, fill, run_layer, run_step
from llava.model.language_model.masks import layer_masks
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.model.layout import Layout
from llava.reduction.sent import sent

# Capacities are rounded up, so that prompts of similar length share one captured or compiled step.
ROUND_TO = 64
SHAPES_KEPT = 4
SHAPES_COMPILED = 64
MOVING_ROPES = ("dynamic", "longrope")  # transformers asks the device for the length at every token
logger = logging.getLogger(__name__)
Step = Callable[[torch.Tensor], torch.Tensor]
Result = TypeVar("Result")


@dataclass
class Held:
    """Buffers of one shape, the step over them, and the captured steps of questions by their columns."""

    state: StepState
    step: Callable[[], torch.Tensor]
    prompts: dict[int, "Prompt"] = field(default_factory=dict)


class Prompt(NamedTuple):
    """A captured step of questions: what is copied into it, and the call, which gives logits (B, V)."""

    embeds: torch.Tensor
    padding: torch.Tensor
    run: Callable[[], torch.Tensor]


class StaticDecoder:
    """Hand one to `ask` and `encode_image` (`decoder=...`), again and again. One model, one thread.

    On a GPU all is captured as CUDA graphs; on a CPU its layer is compiled by inductor, which needs a C++
    compiler. Where that does not work, decoding goes on as without, and a line in the log says so, once.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._held: dict[tuple, Held] = {}
        self._reason: str | None = None
        self._graphs = Graphs(model.device) if model.device.type == "cuda" else None
        attention = model.config._attn_implementation
        if model.get_model().layer_masks is not layer_masks:
            self.decline("it needs rotary positions and the model's are in its masks (MPT's ALiBi)")
        elif attention not in ("sdpa", SHARED_PREFIX, "eager"):
            self.decline(f"it needs sdpa attention and the model has {attention}")
        elif is_offloaded(model.get_model().layers):
            self.decline("some of the model's layers are offloaded")
        elif len({parameter.device for parameter in model.get_model().layers.parameters()}) > 1:
            self.decline("the model's layers are on several devices")
        elif model.device.type == "cuda" and getattr(model.get_model().rotary_emb, "rope_type", "") in MOVING_ROPES:
            self.decline("a captured step cannot choose its rotary frequencies anew by the length")
        elif model.device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            self.decline("there is no C++ compiler (g++)")

    @property
    def works(self) -> bool:
        """False once something could not be compiled."""
        return self._reason is None

    @property
    def graphs(self) -> Graphs | None:
        """By which prefixes are captured and replayed; None where nothing is captured."""
        return self._graphs if self.works else None

    def decline(self, reason: str) -> None:
        """Go on without compiling, and say why the first time."""
        if self._reason is None:
            logger.warning("--compile has no effect: %s; decoding goes on uncompiled", " ".join(reason.split())[:200])
        self._reason = reason

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
        batch, longest = embeds.shape[:2]
        follows = bool(cache.stages) and not layout.spans  # text alone, after prefixes
        columns = columns_for(batch, longest) if self._graphs is not None and follows else None
        held = self._taken(cache, batch, columns + new_tokens) if columns is not None else None
        if columns is None or held is None:
            return None
        if columns not in held.prompts:
            prompt = self._attempt(lambda: self._captured_prompt(held.state, columns, embeds))
            if prompt is None:
                return None
            held.prompts[columns] = prompt
        given, padding, run = held.prompts[columns]
        fill(held.state, cache)
        given[:, columns - longest :] = embeds
        padding.copy_(sent([[columns - length] for length in layout.lengths], padding.device))
        return run(), _stepping(held)

    def _taken(self, cache: StagedCache, batch: int, new_tokens: int) -> Held | None:
        """Buffers for a cache and so many tokens more, not filled yet."""
        if cache.masking is not None:
            self.decline("the method chooses anew at every token")
        return self._attempt(lambda: self._buffers(cache, batch, new_tokens)) if self.works else None

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
        # Buffers made in inference mode may not be written outside it.
        key = (torch.is_inference_mode_enabled(), batch, *capacities, *bounds)
        if key not in self._held:
            while len(self._held) >= SHAPES_KEPT:
                del self._held[next(iter(self._held))]
            state = empty_state(cache, batch, capacities, self._model.device)
            fill(state, cache)
            self._held[key] = Held(state, self._prepared(state))
        return self._held[key]

    def _prepared(self, state: StepState) -> Callable[[], torch.Tensor]:
        """The step, run once or more over a state whose contents do not matter yet."""
        if self._graphs is not None:
            return as_graph(lambda: run_step(self._model, state), self._model.device)
        layer_step = torch.compile(run_layer, dynamic=False, fullgraph=True)
        # Every batch size and capacity is a graph of its own; torch gives up after eight of them.
        with torch._dynamo.config.patch(recompile_limit=SHAPES_COMPILED):
            run_step(self._model, state, layer_step)
        return lambda: run_step(self._model, state, layer_step)

    def _captured_prompt(self, state: StepState, columns: int, like: torch.Tensor) -> Prompt:
        embeds = like.new_zeros(len(like), columns, like.shape[2])
        padding = torch.zeros(len(like), 1, dtype=torch.long, device=like.device)
        for column in state.columns:
            column.zero_()  # the run before the capture must find room
        run = as_graph(lambda: run_prompt(self._model, state, embeds, padding), self._model.device)
        return Prompt(embeds, padding, run)


def _stepping(held: Held) -> Step:
    def step(tokens: torch.Tensor) -> torch.Tensor:
        held.state.tokens.copy_(tokens)
        return held.step()

    return step
