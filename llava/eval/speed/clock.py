"""A stopwatch that measures several things in turn, so that what disturbs one disturbs all, and a memory gauge."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CLOCKS = ("wall", "cpu", "device")


@dataclass(frozen=True)
class Work:
    """Something to time: `prepare` is not, `run` is, with what `prepare` returned."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


def medians(works: dict[str, Work], repeats: int, device: str, clock: str) -> dict[str, float]:
    """Median seconds of each work, all of them run in turn `repeats` times after one round that does not count.

    Args:
        clock: `wall`, or `cpu`: the processor time of this process, all threads added up. On a machine that others use
            at the same time only the latter says what the work itself costs. `device`: a GPU's own events before the
            first kernel and after the last; elsewhere as `wall`.
    """
    for work in works.values():
        _once(work, device, clock)
    rounds = [{name: _once(work, device, clock) for name, work in works.items()} for _ in range(repeats)]
    return {name: statistics.median(times[name] for times in rounds) for name in works}


def _once(work: Work, device: str, clock: str) -> float:
    """Seconds of one run, which begins and ends with an idle device."""
    prepared = work.prepare()
    if device == "cuda":
        torch.cuda.synchronize()
    if device == "cuda" and clock == "device":
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        work.run(prepared)
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3
    now = time.process_time if clock == "cpu" else time.perf_counter
    started = now()
    work.run(prepared)
    if device == "cuda":
        torch.cuda.synchronize()
    return now() - started


def peak_bytes(work: Callable[[], object], device: str) -> int | None:
    """The most memory held while `work` ran, weights included; None where this system does not tell.

    On a CPU it is what the process has resident at its peak, which Linux can be asked to count anew.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    work()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
