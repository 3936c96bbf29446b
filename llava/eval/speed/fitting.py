"""A shape cut to the layers that a machine has room for: cost per layer is what a published size is measured for."""

from dataclasses import replace

import torch

from llava.errors import InputError
from llava.eval.speed.random_model import Shape, random_model

FLOAT = 4  # bytes of a weight while a random model is made, whatever it is turned into afterwards
SHARE = 0.7  # of the free bytes that weights may take; the rest is for what is computed
LEAST = 4  # layers: fewer do not hold VisionDrop's stages


def fitting(shape: Shape, free: int, per_weight: int = FLOAT) -> tuple[Shape, str]:
    """The shape with as many layers as there is room for, in fours; and what was cut in words, empty if nothing was.

    Args:
        free: bytes.
        per_weight: bytes that are taken for each weight, more where several models are there at once.

    Raises:
        InputError: where not even a few layers have room.
    """
    model = random_model(shape, "meta", torch.float32)
    needed, room = per_weight * _count(model), SHARE * free
    if needed <= room:
        return shape, ""
    each = per_weight * _count(model.get_model().layers[0])
    others = needed - shape.layers * each
    layers = int((room - others) // each) // 4 * 4
    if layers < LEAST:
        raise InputError(
            f"a model must have room while it is made: {LEAST} of its {shape.layers} layers need "
            f"{(others + LEAST * each) / SHARE / 2**30:.1f} GiB free, got {free / 2**30:.1f}; "
            f"use a smaller --preset or --on-paper"
        )
    said = f"cut from {shape.layers} to {layers} LLM layers, which is what {free / 2**30:.0f} GiB have room for"
    return replace(shape, layers=layers), said


def _count(module: torch.nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())
