"""A stand-in for CUDA graphs on the CPU, no kinder than they are: what was captured runs again, over the same memory.

Operations are recorded and done again in their order. Memory from outside is not kept alive by a graph, what Python
knew is as it was, what was made inside holds no numbers before the first replay and after that of another graph of its
memory, and whoever asks for a number breaks the capture.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from llava.model.generation.graph_pool import GraphPool
from llava.model.generation.graphs import Graphs
from llava.model.generation.static_decoder import StaticDecoder
from llava.reduction.sent import Tables

# Operations whose result's shape is a number on the device, or that hand one to the host.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim", "bincount"}
BROKEN = "operation not permitted when stream is capturing"


def changed(kind: type, change: Callable[[Any], Any], tree: Any) -> Any:
    """`tree_map_only` of what operations take and give, many times as fast."""
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, dict):
        return {name: changed(kind, change, value) for name, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(changed(kind, change, value) for value in tree)
    return tree


def tensors(tree: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    changed(torch.Tensor, found.append, tree)
    return found


def reads(name: str, args: tuple) -> bool:
    """Whether an operation waits for numbers; to pick by a mask is to look for the places that are true."""
    masked = name.startswith("index") and any(one.dtype == torch.bool for one in tensors(args[1:2]))
    return name in READS or masked or (name == "repeat_interleave" and len(tensors(args)) == 1)


def one_hot(index: torch.Tensor, classes: int) -> torch.Tensor:
    """torch's, which looks at the numbers on a CPU and not on a GPU."""
    return (index[..., None] == torch.arange(classes)).long()


class Outside(NamedTuple):
    """A tensor that was there before, by its address."""

    memory: StorageWeakRef
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Outside":
        where = StorageWeakRef(tensor.untyped_storage())
        return cls(where, tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset())

    def found(self) -> torch.Tensor:
        assert not self.memory.expired(), "a graph reads memory that was freed"
        storage = torch.UntypedStorage._new_with_weak_ptr(self.memory.cdata)
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.shape, self.stride)


class Tape(TorchDispatchMode):
    """What is done while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Callable, tuple, dict, list[torch.Tensor | None]]] = []
        self.made: dict[int, torch.Tensor] = {}  # by the address of their memory
        self.tables: list[torch.Tensor] = []
        self.broken = self.spoilt = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, func._schema.name.removeprefix("aten::")
        if reads(name, args):
            self.broken = True
            raise RuntimeError(BROKEN)
        given = {one.untyped_storage()._cdata for one in tensors((args, kwargs))}
        written = [
            kwargs.get(slot.name, args[at] if at < len(args) else None)
            for at, slot in enumerate(func._schema.arguments)
            if slot.alias_info is not None and slot.alias_info.is_write
        ]
        kept = changed(torch.Tensor, self._reference, (args, kwargs))
        if any(one.untyped_storage()._cdata not in self.made for one in tensors(written)):
            self.steps.append((func, *kept, []))  # nothing is computed while a graph is captured
            return written[0]
        result = func(*args, **kwargs)
        if name.startswith("lift"):  # a table of the host's, which may come to the device by `sent` alone
            self.tables += tensors(result)
            return result
        new = [one if one.untyped_storage()._cdata not in given else None for one in tensors(result)]
        self.made |= {one.untyped_storage()._cdata: one for one in new if one is not None}
        if name.startswith(("empty", "new_empty")):
            new = []
        if written or any(one is not None for one in new):
            self.steps.append((func, *kept, new))
        return result

    def _reference(self, tensor: torch.Tensor) -> torch.Tensor | Outside:
        return tensor if tensor.untyped_storage()._cdata in self.made else Outside.of(tensor)

    def spoil(self) -> None:
        """No numbers in what was made inside, if there were any."""
        if self.spoilt:
            return
        self.spoilt = True
        with torch.inference_mode():
            for one in self.made.values():
                one.fill_(torch.nan if one.is_floating_point() else -1 if one.dtype != torch.bool else True)

    def play(self) -> None:
        """Do everything again."""
        self.spoilt = False
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            for func, args, kwargs, new in self.steps:
                args, kwargs = changed(Outside, Outside.found, (args, kwargs))
                for held, own in zip(new, tensors(func(*args, **kwargs))):
                    if held is not None:
                        held.copy_(own)


class Memory:
    """What graphs share."""

    def __init__(self) -> None:
        self.graphs: weakref.WeakSet[Graph] = weakref.WeakSet()
        self.used = self.broken = False


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        assert isinstance(other, Stream)


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    tape: Tape
    memory: Memory
    machine: "Machine"

    def replay(self) -> None:
        self.machine.replayed += 1
        for other in self.memory.graphs:
            other.tape.spoil()
        self.tape.play()


class Machine:
    """In place of what `GraphPool` uses of `torch.cuda`."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0
        self.stream = Stream()
        self.streams = [self.stream]
        self.memories: list[Memory] = []

    def new_stream(self) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]

    def new_memory(self) -> Memory:
        self.memories.append(Memory())
        return self.memories[-1]

    def set_stream(self, stream: Stream) -> None:
        self.stream = stream

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def graph(self, graph: Graph, memory: Memory, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local" and not torch.is_autocast_cache_enabled()
        assert stream is not self.streams[0], "graphs must be captured on a stream of their own"
        if memory.broken:
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        assert memory.graphs or not memory.used, "use_count > 0: all graphs of this memory are gone"
        before, self.stream = self.stream, stream
        graph.tape, graph.memory, graph.machine = Tape(), memory, self
        try:
            with graph.tape:
                yield
        finally:
            graph.tape.spoil()
            if graph.tape.broken:  # as torch: the stream stays, and so does the memory
                memory.broken = True
                raise RuntimeError("operation failed due to a previous error during capture")
            self.stream = before
        memory.graphs.add(graph)
        memory.used = True
        self.captured += 1


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine, give = Machine(), Tables.give

    def hand_out(*args: Any) -> torch.Tensor:  # compares what the host has, which is no operation of a device
        with _disable_current_modes():
            return give(*args)

    monkeypatch.setattr(Tables, "give", hand_out)
    monkeypatch.setattr(torch.nn.functional, "one_hot", one_hot)
    for name, own in (
        ("device", lambda _: nullcontext()),
        ("Stream", machine.new_stream),
        ("stream", machine.on),
        ("set_stream", machine.set_stream),
        ("current_stream", lambda: machine.stream),
        ("graph_pool_handle", machine.new_memory),
        ("CUDAGraph", Graph),
        ("graph", machine.graph),
    ):
        monkeypatch.setattr(torch.cuda, name, own)
    return machine


def capturing(model: Any) -> StaticDecoder:
    """A decoder that takes this device for a GPU."""
    decoder = StaticDecoder(model)
    decoder._graphs, decoder._pool = Graphs(model.device), GraphPool(model.device)
    return decoder
