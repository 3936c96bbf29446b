"""Where weights go and in which precision, from what LLaVA's loader is told."""

from typing import Any

import torch

from llava.errors import InputError, shown
from llava.model.checkpoint.config import DTYPES

STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
_NAMES = {name: getattr(torch, name) for name in DTYPES} | {"half": torch.float16, "float": torch.float32}


def device_map_for(device_map: Any, device: Any) -> Any:
    """transformers' device map: LLaVA's `device_map` where `device` is `cuda`, else everything on `device`.

    Without an accelerator `cuda`, which is the default, means the CPU.

    Raises:
        InputError: for a device that is not there, or a map that is none.
    """
    if str(device) != "cuda":
        return {"": _present(device)}
    if device_map is None or device_map in STRATEGIES:
        return device_map
    if isinstance(device_map, dict):
        wrong = [name for name in device_map if not isinstance(name, str)]
        if wrong or not device_map:
            raise InputError(
                f"device_map must name modules and devices: got {shown(device_map)}; give 'auto' or a dict such as "
                f"{{'': 'cpu'}}"
            )
        return {name: where if where == "disk" else _present(where) for name, where in device_map.items()}
    return {"": _present(device_map)}


def _present(device: Any) -> str | int | torch.device:
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"a device must be one of torch's or 'disk': got {shown(device)}; give cpu, cuda, cuda:0 or auto"
        ) from error
    if wanted.type in ("cpu", "meta"):
        return device
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if accelerator is not None and accelerator.type == wanted.type else 0
    if (wanted.index or 0) >= count:
        raise InputError(f"a device must be there: torch does not find {shown(str(device))}; use cpu")
    return device


def runs_on_cpu(device_map: Any, max_memory: Any = None) -> bool:
    """True where no accelerator will compute."""
    if not torch.accelerator.is_available():
        return True
    if device_map is None:
        return False  # the caller moves the model
    if isinstance(device_map, dict):
        return all(str(where) in ("disk", "cpu") for where in device_map.values())
    return bool(max_memory) and not any(isinstance(where, int) for where in max_memory)


def dtype_for(dtype: Any, torch_dtype: Any, default: Any, own: tuple[Any, ...] = ()) -> torch.dtype:
    """The precision of all weights.

    Args:
        dtype, torch_dtype: transformers' new and LLaVA's old name for it: a torch dtype, its name, `auto` (that of the
            checkpoint) or None. Where both are given they must agree.
        default: for None, of the same kinds.
        own: the checkpoint's: what its configuration says and what its weights are, the first that is known counts.

    Raises:
        InputError: for two different ones, or what is none of floating point numbers.
    """
    given = [_dtype(value) for value in (dtype, torch_dtype) if value is not None]
    if len(set(given)) > 1:
        raise InputError(
            f"dtype and torch_dtype are two names for one thing: got {shown(dtype)} and {shown(torch_dtype)}; give one"
        )
    chosen = given[0] if given else _dtype(default)
    if chosen == "auto":
        return next((_dtype(value) for value in own if value is not None), torch.float32)
    return chosen


def _dtype(value: Any) -> Any:
    named = _NAMES.get(value.removeprefix("torch.")) if isinstance(value, str) else value
    if value == "auto":
        return value
    if not isinstance(named, torch.dtype) or named not in _NAMES.values():
        raise InputError(f"dtype must be one of {', '.join(DTYPES)} or auto: got {shown(value)}")
    return named
