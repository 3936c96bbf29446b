"""Weights that are shared out over devices in training, and are whole only while their module is called."""

from typing import Any

import torch
from torch import nn

from llava.model.evidence.llama import Around, LlamaEvidence
from llava.model.layer_parts import own_weight
from llava.model.layout import Layout, Span


def gathers_by_call(module: nn.Module) -> bool:
    """True under DeepSpeed's ZeRO-3: all devices gather the weights of whatever module one of them calls.

    A device that calls others than its neighbours waits for ever, so each must call the same ones in the same order.
    """
    return hasattr(next(module.parameters(), None), "ds_id")


def gather(layer: nn.Module) -> None:
    """Make the weights of a layer whole that is asked just before its own call, where torch's FSDP shares them out.

    Its own call would gather them next on every device, so one that asks nothing still does the same.
    """
    unshard = getattr(layer, "unshard", None)
    if unshard is not None:
        unshard()


def ask_nothing(decoder: Any, method: Any, stage: int, first: int, count: int) -> None:
    """Ask a method about `count` tokens of zeros before layer `first`, and forget what it says.

    For a device whose batch has no image, while others ask about theirs; see `gathers_by_call`.
    """
    weight = own_weight(decoder.layers[first].input_layernorm)
    layout = Layout((count + 2,), (Span(0, 1, count, count, count),))
    with torch.no_grad():
        hidden = torch.zeros(1, layout.width, decoder.config.hidden_size, dtype=weight.dtype, device=weight.device)
        rotary = decoder.rotary_emb(hidden, position_ids=torch.arange(layout.width, device=hidden.device)[None])
        around = Around(decoder.layers[first - 1], hidden, decoder.norm, hidden, layout)
        asking = [[count + 1]] if method.reads_question else None
        method.at_layer(stage, LlamaEvidence(decoder.layers[first], hidden, layout, rotary, asking, around))
