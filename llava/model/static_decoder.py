"""Decoding without launch overhead: one step over buffers of fixed shape, captured as a CUDA graph or compiled.

Whatever changes from token to token (columns, positions, masks) is a tensor that the step itself moves on, so that a
captured step can be replayed. Buffers belong to the decoder, are reused by later batches of the same shape, and are
filled from the cache of an ordinary prefill; nothing is kept on the model.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from llava.model.staged_cache import StagedCache

# Capacities are rounded up, so that prompts of similar length share one captured or compiled step.
ROUND_TO = 64
SHAPES_KEPT = 4
logger = logging.getLogger(__name__)


@dataclass
class StepState:
    """What one decoding step reads and moves on. B rows, S stages, c(s) columns in stage s.

    Attributes:
        tokens: (B,) int64, the newest tokens.
        columns: for each stage (1,) int64, where their keys and values go.
        positions: for each stage (B, 1) int64.
        fillers: for each stage (B, c(s)) bool, True at padding.
        buffers: for each layer keys and values, (B, G, c(s), d).
        bounds: for each stage first and last + 1 layer.
    """

    tokens: torch.Tensor
    columns: list[torch.Tensor]
    positions: list[torch.Tensor]
    fillers: list[torch.Tensor]
    buffers: list[tuple[torch.Tensor, torch.Tensor]]
    bounds: list[tuple[int, int]]


class OneLayer:
    """What a transformers layer needs of a cache: somewhere to put the new token, and all tokens back."""

    def __init__(self, buffers: tuple[torch.Tensor, torch.Tensor], column: torch.Tensor) -> None:
        self._buffers, self._column = buffers, column

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, ...]:
        """Write (B, G, 1, d) and return the whole buffers."""
        return tuple(buffer.index_copy_(2, self._column, new) for buffer, new in zip(self._buffers, (keys, values)))


def run_layer(
    layer: Any,
    hidden: torch.Tensor,
    mask: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    buffers: tuple[torch.Tensor, torch.Tensor],
    column: torch.Tensor,
) -> torch.Tensor:
    """One host layer over one new token of each row."""
    cache = OneLayer(buffers, column)
    return layer(hidden, attention_mask=mask, past_key_values=cache, use_cache=True, position_embeddings=rotary)


def run_step(model: Any, state: StepState, layer_step: Callable[..., torch.Tensor] = run_layer) -> torch.Tensor:
    """Logits (B, V) after `state.tokens`; the state is moved on by one column in place."""
    decoder = model.model
    hidden = decoder.embed_tokens(state.tokens)[:, None]
    for stage, (first, stop) in enumerate(state.bounds):
        column, filler = state.columns[stage], state.fillers[stage]
        mask = ((torch.arange(filler.shape[1], device=filler.device) <= column) & ~filler)[:, None, None]
        rotary = decoder.rotary_emb(hidden, position_ids=state.positions[stage])
        for number in range(first, stop):
            hidden = layer_step(decoder.layers[number], hidden, mask, rotary, state.buffers[number], column)
        state.columns[stage].add_(1)
        state.positions[stage].add_(1)
    return model.lm_head(decoder.norm(hidden))[:, -1]


class StaticDecoder:
    """Hand one to `ask(..., decoder=...)`, again and again. One model, one thread.

    On a GPU the step is captured as a CUDA graph; on a CPU its layer is compiled by inductor, which needs a C++
    compiler. Where that does not work, decoding goes on as without, and a line in the log says so, once.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._states: dict[tuple, tuple[StepState, Callable[[], torch.Tensor]]] = {}
        self._reason: str | None = None
        attention = model.config._attn_implementation
        if attention not in ("sdpa", "eager"):
            self.decline(f"it needs sdpa attention and the model has {attention}")
        elif len({parameter.device for parameter in model.model.layers.parameters()}) > 1:
            self.decline("the model's layers are on several devices")
        elif model.device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
            self.decline("there is no C++ compiler (g++)")

    @property
    def works(self) -> bool:
        """False once something could not be compiled."""
        return self._reason is None

    def decline(self, reason: str) -> None:
        """Go on without compiling, and say why the first time."""
        if self._reason is None:
            logger.warning("--compile has no effect: %s; decoding goes on uncompiled", " ".join(reason.split())[:200])
        self._reason = reason

    def rows(self, batch: int) -> int:
        """Rows to ask for, a power of two, so that few shapes are ever compiled; `batch` where nothing is."""
        return 1 << (batch - 1).bit_length() if self.works else batch

    def start(self, cache: StagedCache, batch: int, new_tokens: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Take over from a prefill; None where it has to be decoded without.

        Args:
            cache: left as it is; its contents are copied.
            new_tokens: how many may follow.

        Returns:
            tokens (B,) -> logits (B, V) of the next ones.
        """
        if not self.works:
            return None
        try:
            state, run = self._state(cache, batch, new_tokens)
        except (RuntimeError, OSError, ImportError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self.decline(f"{type(error).__name__}: {error}")
            return None

        def step(tokens: torch.Tensor) -> torch.Tensor:
            state.tokens.copy_(tokens)
            return run()

        return step

    def _state(self, cache: StagedCache, batch: int, new_tokens: int) -> tuple[StepState, Callable[[], torch.Tensor]]:
        """Buffers filled from a cache, and the captured or compiled step over them."""
        needed = [cache.length(stage) + new_tokens for stage in range(len(cache.stages))]
        capacities = [-(-count // ROUND_TO) * ROUND_TO for count in needed]
        bounds = [(stage.first, stage.stop) for stage in cache.stages]
        key = (batch, *capacities, *bounds)
        if key not in self._states:
            while len(self._states) >= SHAPES_KEPT:
                del self._states[next(iter(self._states))]
            state = empty_state(cache, batch, capacities, self._model.device)
            fill(state, cache)
            self._states[key] = (state, self._prepared(state))
        fill(self._states[key][0], cache)
        return self._states[key]

    def _prepared(self, state: StepState) -> Callable[[], torch.Tensor]:
        """The step, run once or more over a state whose contents do not matter yet."""
        if self._model.device.type == "cuda":
            return captured(self._model, state)
        layer_step = torch.compile(run_layer, dynamic=False, fullgraph=True)
        run_step(self._model, state, layer_step)
        return lambda: run_step(self._model, state, layer_step)


def captured(model: Any, state: StepState) -> Callable[[], torch.Tensor]:
    """The whole step as a CUDA graph; calling it replays the graph over the state's own tensors."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries set themselves up outside the graph
        run_step(model, state)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = run_step(model, state)

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


def empty_state(cache: StagedCache, batch: int, capacities: list[int], device: torch.device) -> StepState:
    """Buffers of fixed shape for the stages of a cache; zeros, because what is masked must still be a number."""
    buffers = []
    for stage, capacity in zip(cache.stages, capacities):
        for number in range(stage.first, stage.stop):
            keys = cache.layers[number].keys
            shape = (batch, keys.shape[1], capacity, keys.shape[3])
            buffers.append((keys.new_zeros(shape), keys.new_zeros(shape)))
    return StepState(
        tokens=torch.zeros(batch, dtype=torch.long, device=device),
        columns=[torch.zeros(1, dtype=torch.long, device=device) for _ in capacities],
        positions=[torch.zeros(batch, 1, dtype=torch.long, device=device) for _ in capacities],
        fillers=[torch.zeros(batch, capacity, dtype=torch.bool, device=device) for capacity in capacities],
        buffers=buffers,
        bounds=[(stage.first, stage.stop) for stage in cache.stages],
    )


def fill(state: StepState, cache: StagedCache) -> None:
    """Copy a cache into a state, in place."""
    for number, stage in enumerate(cache.stages):
        length = cache.length(number)
        filler = cache.filler_and(number, None, 0)
        state.columns[number].fill_(length)
        state.fillers[number].zero_()
        state.positions[number].fill_(length)
        if filler is not None:
            state.fillers[number][:, :length] = filler
            state.positions[number].sub_(filler.sum(dim=1, keepdim=True))
        for layer in range(stage.first, stage.stop):
            for buffer, held in zip(state.buffers[layer], (cache.layers[layer].keys, cache.layers[layer].values)):
                buffer[:, :, :length] = held
