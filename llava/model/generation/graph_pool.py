"""Capturing CUDA graphs: on one stream and in one memory for all graphs of a kind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from llava.model.attention_kernels import without_cudnn
from llava.reduction.sent import Tables

Result = TypeVar("Result")


class GraphPool:
    """Captures work as CUDA graphs of which none is replayed while another's result is still needed.

    So they can have one memory; torch reuses it for graphs that were captured on one stream, and libraries keep a
    workspace for each stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None
        self._memory: Any = None

    def capture(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Run work once and capture it: a call that replays it and gives what it returned, whose tensors it fills.

        Another thread may pin memory for the next pictures meanwhile: only what this one does is part of the capture
        (torch's `capture_error_mode`).

        Raises:
            RuntimeError: for work that asks the device something, or that sends it other tables the second time.
        """
        with torch.cuda.device(self._device), without_cudnn(), _casts_anew():
            outer = torch.cuda.current_stream()
            self._stream = self._stream or torch.cuda.Stream()
            self._memory = self._memory or torch.cuda.graph_pool_handle()
            self._stream.wait_stream(outer)
            try:
                return self._captured(work, outer)
            except BaseException:
                self._memory = None  # for torch, the capture that failed may still be writing there
                raise
            finally:
                torch.cuda.set_stream(outer)  # torch's own manager leaves the stream of a capture that broke

    def _captured(self, work: Callable[[], Result], outer: Any) -> Callable[[], Result]:
        tables, failed = Tables(), []
        with torch.cuda.stream(self._stream), tables.kept():  # libraries set themselves up outside the graph
            work()
        outer.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, self._memory, self._stream, "thread_local"), tables.handed_out():
                try:
                    result = work()
                except RuntimeError as error:
                    failed.append(error)
                    raise
        except RuntimeError as error:  # ending a capture that broke says no more than that it did
            raise (failed or [error])[0] from None

        def replay(_: Tables = tables) -> Result:  # a graph reads its tables where they lie
            graph.replay()
            return result

        return replay

    def forget(self) -> None:
        """Share no memory with what was captured before: torch takes none up again whose graphs are all gone."""
        self._memory = None


@contextmanager
def _casts_anew() -> Iterator[None]:
    """While entered, autocast keeps no weight that it has cast: a graph would read it where it lay, long after."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def course(device: torch.device) -> tuple[bool, torch.dtype | None]:
    """What decides how operations run on a device, besides their tensors: inference mode, and what autocast casts to.

    What was made in inference mode may not be written outside it.
    """
    casts = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    return torch.is_inference_mode_enabled(), casts
