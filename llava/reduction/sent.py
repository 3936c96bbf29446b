"""Small tables that the host knows, put on a device without waiting for it."""

from typing import Any

import torch


def sent(values: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> torch.Tensor:
    """`torch.tensor(values)` on a device.

    `torch.tensor(values, device=...)` waits until the device has done everything it was given before; in the middle of
    a prefill it would then stand idle until the next kernels arrive. This copy takes its place in the queue instead.
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
