"""Prompts as processors give them, put together and cut: rows of ids, and what goes with their pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from llava.errors import InputError
from llava.hf.seeing import PIXELS
from llava.reduction.sent import sent

OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
Inputs = Mapping[str, Any]


def begun(inputs: Inputs, marks: Sequence[int]) -> dict[str, Any]:
    """One prompt up to its last picture, without padding.

    Args:
        marks: ids of the placeholders.

    Raises:
        InputError: for several prompts, or one without a picture.
    """
    ids = inputs.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or len(ids) != 1 or "inputs_embeds" in inputs:
        got = tuple(ids.shape) if isinstance(ids, torch.Tensor) else type(ids).__name__
        raise InputError(f"encode_image takes one prompt: got input_ids {got}, expected (1, tokens); pass one")
    places = torch.isin(ids[0].cpu(), torch.tensor(marks)).nonzero()
    if not len(places) or all(inputs.get(name) is None for name in PIXELS):
        raise InputError("encode_image takes a prompt with a picture: got none; pass what the processor gives for one")
    end, mask = int(places.max()) + 1, inputs.get("attention_mask")
    real = slice(None) if mask is None else mask[0, :end].bool()
    cut = {name: inputs[name][:, :end][:, real] for name in OF_TOKENS if inputs.get(name) is not None}
    rest = {name: value for name, value in inputs.items() if name not in OF_TOKENS and value is not None}
    return {**cut, **rest}


def alike(prompts: Sequence[Inputs]) -> list[list[int]]:
    """Numbers of those that can be put together: whose pictures' tensors differ in the first dimension alone."""
    groups: dict[Any, list[int]] = {}
    for number, own in enumerate(prompts):
        shapes = {name: _shape(value) for name, value in own.items() if name not in OF_TOKENS}
        whole = all(shape is not None for shape in shapes.values())
        groups.setdefault(tuple(sorted(shapes.items())) if whole else number, []).append(number)
    return list(groups.values())


def _shape(value: Any) -> Any:
    return (tuple(value.shape[1:]), value.dtype) if isinstance(value, torch.Tensor) and value.ndim else None


def collated(prompts: Sequence[Inputs]) -> dict[str, Any]:
    """Several prompts as one batch, padded on the left with zeros, their pictures one after the other."""
    if len(prompts) == 1:
        return {**prompts[0]}
    lengths = [own["input_ids"].shape[1] for own in prompts]
    made: dict[str, Any] = {}
    for name in prompts[0]:
        if name in OF_TOKENS:
            pads = [(max(lengths) - length, 0) for length in lengths]
            made[name] = torch.cat([torch.nn.functional.pad(own[name], pad) for own, pad in zip(prompts, pads)])
        else:
            made[name] = torch.cat([own[name] for own in prompts])
    device = made["input_ids"].device
    missing = sent([[max(lengths) - length] for length in lengths], device)
    made["attention_mask"] = (torch.arange(max(lengths), device=device) >= missing).long()
    return made


def rows_of(
    starts: Sequence[Sequence[int]], questions: Sequence[Sequence[int]], filler: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, width of the starts + width of the questions), each of both padded on the left."""
    ids, real = [], []
    widths = max(map(len, starts)), max(map(len, questions))
    for row in zip(starts, questions):
        gaps = [width - len(part) for width, part in zip(widths, row)]
        ids.append([token for gap, part in zip(gaps, row) for token in [filler] * gap + list(part)])
        real.append([one for gap, part in zip(gaps, row) for one in [0] * gap + [1] * len(part)])
    return sent(ids, device), sent(real, device)
