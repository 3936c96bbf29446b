"""Work of fixed shape as CUDA graphs: recorded once, replayed without Python, so no kernel waits to be launched."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from llava.model.attention_kernels import without_cudnn
from llava.reduction.sent import Tables

Result = TypeVar("Result")
KEPT = 8
logger = logging.getLogger(__name__)


def as_graph(work: Callable[[], Result], device: torch.device, pool: Any = None) -> Callable[[], Result]:
    """Run work once and capture it: a call that replays it and gives what it returned, whose tensors each replay fills.

    Warmed up and captured on one stream of its own. Another thread may pin memory for the next pictures meanwhile: only
    what this one does is part of the capture (torch's `capture_error_mode`).

    Args:
        pool: memory that graphs share which are never replayed while another's result is needed; None: its own.

    Raises:
        RuntimeError: for work that asks the device something.
    """
    tables = Tables()
    with torch.cuda.device(device), without_cudnn():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), tables.kept():  # libraries set themselves up outside the graph
            work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool, stream, "thread_local"), tables.handed_out():
            result = work()

    def replay(_: Tables = tables) -> Result:  # a graph reads its tables where they lie
        graph.replay()
        return result

    return replay


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
        self._pool: Any = None

    def __call__(self, key: Hashable, work: Callable[..., Result], inputs: Sequence[torch.Tensor]) -> Result:
        """`work(*inputs)`.

        Args:
            key: everything that the work's course depends on beside the numbers in `inputs`.

        Returns:
            what the work returned when it was captured. Its tensors hold this call's numbers until the next call.
        """
        if self._refused:
            return work(*inputs)
        # What was made in inference mode may not be written outside it.
        key = (torch.is_inference_mode_enabled(), key, *((one.shape, one.dtype) for one in inputs))
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

    def _captured(self, key: Hashable, work: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> _Graph | None:
        held = [one.clone() for one in inputs]
        if self._pool is None and self._device.type == "cuda":
            self._pool = torch.cuda.graph_pool_handle()
        try:
            replay = as_graph(lambda: work(*held), self._device, self._pool)
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
