"""On which device a module computes, where accelerate keeps its weights somewhere else in between."""

from collections.abc import Iterator

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook
from accelerate.utils import align_module_device
from torch import nn


def hooks_of(module: nn.Module) -> Iterator[AlignDevicesHook]:
    """accelerate's hooks that move a module's weights or inputs."""
    hook = getattr(module, "_hf_hook", None)
    for part in hook.hooks if isinstance(hook, SequentialHook) else [hook]:
        if isinstance(part, AlignDevicesHook):
            yield part


def device_of(module: nn.Module) -> torch.device:
    """Where a module's inputs belong: the device of its weights, or that to which offloaded ones are brought.

    The module's first parameter decides, as in transformers.
    """
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if not parameter.is_meta:
                return parameter.device
            executing = [hook.execution_device for hook in hooks_of(part) if hook.execution_device is not None]
            return torch.device(_indexed(executing[0])) if executing else parameter.device
    return torch.device("cpu")


def tensor_of(module: nn.Module, name: str) -> torch.Tensor | None:
    """A tensor that a module holds itself, brought from where it is kept between calls; None if it has none."""
    if getattr(module, name, None) is None:
        return None
    with align_module_device(module):
        return getattr(module, name)


def whole_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's tensors by name, those that are kept elsewhere brought into the CPU's memory."""
    state = model.state_dict()
    for full in [name for name, tensor in state.items() if tensor.is_meta]:
        owner, _, name = full.rpartition(".")
        module = model.get_submodule(owner)
        with align_module_device(module, torch.device("cpu")):
            state[full] = getattr(module, name).detach()
    return state


def is_offloaded(module: nn.Module) -> bool:
    """True where some weights of a module are not there between its calls."""
    return any(hook.offload for part in module.modules() for hook in hooks_of(part))


def _indexed(device: int | str | torch.device) -> str | torch.device:
    """accelerate numbers accelerators."""
    if isinstance(device, int):
        accelerator = torch.accelerator.current_accelerator()
        return f"{accelerator.type if accelerator else 'cuda'}:{device}"
    return device
