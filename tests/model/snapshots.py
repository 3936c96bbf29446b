"""What a model looks like from inside, to see that a call has left nothing on it."""

from typing import Any

import torch


def snapshot(model: torch.nn.Module) -> dict[str, Any]:
    """Every attribute of every module, tensors by address and version."""
    seen = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_parameters") or name.startswith("_buffers"):
                value = {key: (id(t), t._version if t is not None else 0) for key, t in value.items()}
            elif name == "_modules":
                value = {key: id(child) for key, child in value.items()}
            seen[f"{path}.{name}"] = value.copy() if isinstance(value, dict) else value
    return seen
