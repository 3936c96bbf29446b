"""A shape cut to the layers that a machine has room for: cost per layer is what a published size is measured for."""

from dataclasses import replace
from pathlib import Path

import torch

from llava.errors import InputError
from llava.eval.runs.memory import free_bytes
from llava.eval.speed.random_model import Shape

FLOAT = 4  # bytes of a weight while a random model is made, whatever it is turned into afterwards
SHARE = 0.7  # of the free bytes that weights may take; the rest is for what is computed
LEAST = 4  # layers: fewer do not hold VisionDrop's stages


def room(device: str) -> int:
    """Bytes that a model may take: on a CPU also those that the system would give up files for, where it says so."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if device == "cpu" and info.is_file() else []
    available = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(available.split()[1]) * 1024 if available else free_bytes(torch.device(device))


def weight_count(shape: Shape) -> int:
    """Weights of a random LLaVA's matrices: decoder layers, table of embeddings and output, projector, encoder."""
    vision = shape.vision_layers * 12 * shape.vision_width**2
    projector = shape.width * (shape.vision_width + shape.width)
    return shape.layers * layer_weights(shape) + 2 * shape.vocabulary * shape.width + projector + vision


def layer_weights(shape: Shape) -> int:
    """Weights of one decoder layer's matrices."""
    return 4 * shape.width**2 + 3 * shape.width * shape.intermediate


def fitting(shape: Shape, free: int, per_weight: int = FLOAT) -> tuple[Shape, str]:
    """The shape with as many layers as there is room for, in fours; and what was cut in words, empty if nothing was.

    Args:
        free: bytes.
        per_weight: bytes that are taken for each weight, more where several models are there at once.

    Raises:
        InputError: where not even a few layers have room.
    """
    needed, room = per_weight * weight_count(shape), SHARE * free
    if needed <= room:
        return shape, ""
    each = per_weight * layer_weights(shape)
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
