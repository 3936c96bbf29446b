"""What captured or compiled work takes from a model once and for all, and what keeps a model from it."""

import os
import shutil
from typing import Any

import torch
from torch import nn

from llava.model.devices import is_offloaded
from llava.model.language_model.masks import layer_masks
from llava.model.language_model.shared_attention import SHARED_PREFIX

MOVING_ROPES = ("dynamic", "longrope")  # transformers asks the device for the length at every token


def reason_against(model: Any) -> str | None:
    """Why decoding of a model can be neither captured nor compiled; None: nothing is known against it."""
    decoder, attention, kind = model.get_model(), model.config._attn_implementation, model.device.type
    parts = (decoder.embed_tokens, decoder.layers, decoder.norm, model.lm_head)
    if decoder.layer_masks is not layer_masks:
        return "it needs rotary positions and the model's are in its masks (MPT's ALiBi)"
    if attention not in ("sdpa", SHARED_PREFIX, "eager"):
        return f"it needs sdpa attention and the model has {attention}"
    if any(map(is_offloaded, parts)):
        return "some of the model's layers are offloaded"
    if not all(lies_on(model.device, part) for part in parts):
        return "the model's layers are on several devices"
    if kind == "cuda" and getattr(decoder.rotary_emb, "rope_type", "") in MOVING_ROPES:
        return "a captured step cannot choose its rotary frequencies anew by the length"
    if kind == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        return "there is no C++ compiler (g++)"
    return None


def lies_on(device: torch.device, part: nn.Module) -> bool:
    """Whether all weights of a part are on a device, between its calls too."""
    return not is_offloaded(part) and all(weight.device == device for weight in part.parameters())


def sees_on(model: Any) -> bool:
    """Whether a model's eyes are where its layers are."""
    tower = model.get_vision_tower()
    return tower is None or all(lies_on(model.device, part) for part in (tower, model.get_model().mm_projector))


def fixed_parts(model: Any, captured: bool) -> list[Any]:
    """What must not change under a step that was prepared: how layers compute.

    Args:
        captured: also where each weight lies, which a graph reads by its address, and which adapters are on, which it
            does not ask anew. Weights that are changed in place it reads as they are.
    """
    kinds = [model.dtype, model.config._attn_implementation, model.training]
    return _parts(model.lm_head, _parts(model.get_model(), kinds)) if captured else kinds


def _parts(module: nn.Module, found: list[Any]) -> list[Any]:
    """Walks by itself: `modules` and `parameters` take many times as long, and this is looked at in every call."""
    found.append(module.training)
    found += [weight.data_ptr() for weight in module._parameters.values() if weight is not None]
    found += [buffer.data_ptr() for buffer in module._buffers.values() if buffer is not None]
    if "merged_adapters" in vars(module):  # PEFT's: weights merged in place lie where they lay
        adapters: Any = module
        found += [adapters.disable_adapters, *adapters.active_adapters, *adapters.merged_adapters]
        found += adapters.scaling.values() if hasattr(adapters, "scaling") else ()
    for name, part in module._modules.items():
        found.append(name)
        if part is not None:
            _parts(part, found)
    return found
