"""Decoding without launch overhead: one step over buffers of fixed shape, captured as a CUDA graph or compiled.

Buffers belong to the decoder, are reused by later batches of the same shape, and are filled from the cache of an
ordinary prefill; nothing is kept on the model.
"""

import logging
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from llava.model.cache.staged_cache import StagedCache
from llava.model.devices import is_offloaded
from llava.model.generation.static_step import StepState, empty_state, fill, run_layer, run_step
from llava.model.language_model.masks import layer_masks
from llava.model.language_model.shared_attention import SHARED_PREFIX

# Capacities are rounded up, so that prompts of similar length share one captured or compiled step.
ROUND_TO = 64
SHAPES_KEPT = 4
SHAPES_COMPILED = 64
MOVING_ROPES = ("dynamic", "longrope")  # transformers asks the device for the length at every token
logger = logging.getLogger(__name__)


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
        if cache.masking is not None:
            self.decline("the method chooses anew at every token")
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
        # Buffers made in inference mode may not be written outside it.
        key = (torch.is_inference_mode_enabled(), batch, *capacities, *bounds)
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
        # Every batch size and capacity is a graph of its own; torch gives up after eight of them.
        with torch._dynamo.config.patch(recompile_limit=SHAPES_COMPILED):
            run_step(self._model, state, layer_step)
        return lambda: run_step(self._model, state, layer_step)


def captured(model: Any, state: StepState) -> Callable[[], torch.Tensor]:
    """The whole step as a CUDA graph; calling it replays the graph over the state's own tensors.

    Warmed up and captured on one stream of the model's own device. Another thread may pin memory for the next pictures
    meanwhile: only what this one does is part of the capture (torch's `capture_error_mode`).
    """
    with torch.cuda.device(model.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up outside the graph
            run_step(model, state)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            logits = run_step(model, state)

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay
