"""Small tables that the host knows, put on a device without waiting for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch


class Tables:
    """The tables that a piece of work sends to a device, kept there so that the work can be captured as a CUDA graph.

    A graph can hold no copy from ordinary memory. So the work runs once while its tables are kept, and is captured
    while it is handed the same ones in the same order.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._next: int | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While entered, in this thread, what is sent is kept as well."""
        self._kept, self._next = [], None
        with self._entered():
            yield

    @contextmanager
    def handed_out(self) -> Iterator[None]:
        """While entered, in this thread, nothing is sent: what was kept is handed out."""
        self._next = 0
        with self._entered():
            yield

    @contextmanager
    def _entered(self) -> Iterator[None]:
        token = _TABLES.set(self)
        try:
            yield
        finally:
            _TABLES.reset(token)

    def give(self, table: torch.Tensor, device: torch.device | str) -> torch.Tensor:
        """A table on a device, sent there or handed out.

        Raises:
            RuntimeError: for another table than came at this place before: the work is not always the same.
        """
        if self._next is None:
            self._kept.append((table, table.to(device, non_blocking=True)))
            return self._kept[-1][1]
        here, there = self._kept[self._next] if self._next < len(self._kept) else (None, None)
        self._next += 1
        if here is None or there is None or here.dtype != table.dtype or not torch.equal(here, table):
            raise RuntimeError("the same work sent other tables to the device than before")
        return there


_TABLES: ContextVar[Tables | None] = ContextVar("tables", default=None)


def sent(values: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> torch.Tensor:
    """`torch.tensor(values)`, or a tensor that is on the CPU, on a device. Only to be read: it may be handed out again.

    `torch.tensor(values, device=...)` waits until the device has done everything it was given before; in the middle of
    a prefill it would then stand idle until the next kernels arrive. This copy takes its place in the queue instead.
    """
    if isinstance(values, torch.Tensor) and values.device.type != "cpu":
        return values
    table = values if isinstance(values, torch.Tensor) else torch.tensor(values, dtype=dtype)
    tables = _TABLES.get()
    return table.to(device, non_blocking=True) if tables is None else tables.give(table, device)
