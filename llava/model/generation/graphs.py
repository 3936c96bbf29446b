"""Work of fixed shape as CUDA graphs: recorded once, replayed without Python, so no kernel waits to be launched."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from llava.model.generation.graph_pool import GraphPool, course

Result = TypeVar("Result")
KEPT = 8
logger = logging.getLogger(__name__)


class _Graph(NamedTuple):
    inputs: list[torch.Tensor]
    replay: Callable[[], Any]


class Graphs:
    """Calls that are replayed from the third of a kind on: the first runs as it is, at the second it is captured.

    Of other shapes more are thrown away than come back, so a shape is captured when it has come back. One device, one
    thread.
    """

    def __init__(self, device: torch.device, kept: int = KEPT) -> None:
        self._device, self._most = device, kept
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._refused = False
        self._pool = GraphPool(device)

    def __call__(self, key: Hashable, work: Callable[..., Result], inputs: Sequence[torch.Tensor]) -> Result:
        """`work(*inputs)`.

        Args:
            key: everything that the work's course depends on beside the numbers in `inputs`.

        Returns:
            what the work returned when it was captured. Its tensors hold this call's numbers until the next call.
        """
        if self._refused:
            return work(*inputs)
        key = (course(self._device), key, *((one.shape, one.dtype) for one in inputs))
        graph = self._graphs.get(key)
        if graph is None:
            if key not in self._seen:
                self._seen[key] = None
                while len(self._seen) > 8 * self._most:
                    self._seen.popitem(last=False)
                return work(*inputs)
            graph = self._captured(key, work, inputs)
            if graph is None:
                return work(*inputs)
        self._graphs.move_to_end(key)
        for held, new in zip(graph.inputs, inputs):
            held.copy_(new)
        return graph.replay()

    def forget(self) -> None:
        """Let go of all that was captured, and of its memory."""
        self._graphs.clear()
        self._pool.forget()

    def _captured(self, key: Hashable, work: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> _Graph | None:
        held = [one.clone() for one in inputs]
        try:
            replay = self._pool.capture(lambda: work(*held))
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._refused = True
            why = " ".join(str(error).split())[:200]
            logger.warning("prefixes could not be captured as a CUDA graph and run as before: %s", why)
            return None
        while len(self._graphs) >= self._most:
            self._graphs.popitem(last=False)
        self._graphs[key] = _Graph(held, replay)
        return self._graphs[key]
