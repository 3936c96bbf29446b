"""How often the host waits for the device: torch tells, on a GPU."""

import warnings
from collections.abc import Callable
from typing import Any

import torch


def count_syncs(work: Callable[[], Any], device: str) -> int | None:
    """Waits of the host while `work` runs, by torch's own account; None where the device is none that is waited for.

    A copy of a few numbers to the device counts too, unless it is made without waiting.
    """
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in said)
