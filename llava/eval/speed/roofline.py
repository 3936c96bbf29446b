"""What a device can do at best: operations and bytes per second, measured with one matrix product and one copy."""

from dataclasses import dataclass
from typing import Any

import torch

from llava.eval.speed.clock import Work, medians

SIDES = {"cuda": 8192}  # of the matrix product; elsewhere
SIDE = 1024
COPIED = {"cuda": 2**30}  # bytes of the copy; elsewhere
COPIED_BYTES = 2**26


@dataclass(frozen=True)
class Roof:
    """A device's measured peak in one dtype: operations per second (a multiply-add counts as two), bytes per second."""

    flops: float
    bytes: float


@torch.inference_mode()
def measure_roof(device: str, dtype: torch.dtype, repeats: int = 5) -> Roof:
    """The peak of a device, from a large square product of random numbers and a copy, which reads and writes."""
    side, copied = SIDES.get(device, SIDE), COPIED.get(device, COPIED_BYTES)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(copied // dtype.itemsize, device=device, dtype=dtype)
    target = torch.empty_like(source)
    works = {"product": Work(lambda _: left @ right), "copy": Work(lambda _: target.copy_(source))}
    seconds = medians(works, repeats, device, "device")
    return Roof(flops=2 * side**3 / seconds["product"], bytes=2 * copied / seconds["copy"])


def against(roof: Roof, rows: list[dict[str, Any]], weight_bytes: int) -> list[dict[str, float]]:
    """For each row of the latency table the share of the peak that its parts reach.

    Args:
        weight_bytes: of the LLM's layers and head, all of which a new token reads, beside the keys and values.

    Returns:
        `prefill`: counted operations over time and peak; `token`: bytes read for a new token likewise, and
        `compiled_token` where that was measured.
    """
    shares = []
    for row in rows:
        read = weight_bytes + row["kv_bytes"]
        share = {
            "prefill": 1e3 * row["prefill_flops"] / row["prefill_ms"] / roof.flops,
            "token": 1e3 * read / row["token_ms"] / roof.bytes,
        }
        if row["compiled_token_ms"] is not None:
            share["compiled_token"] = 1e3 * read / row["compiled_token_ms"] / roof.bytes
        shares.append(share)
    return shares
