"""Prompts as processors give them, put together and cut: rows of ids, and what goes with their pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from llava.errors import InputError
from llava.hf.seeing import PIXELS
from llava.reduction.sent import sent

OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
Inputs = Mapping[str, Any]
START = "start"  # the ids of a prompt that was cut, on the host


def begun(inputs: Inputs, marks: Sequence[int], device: torch.device) -> dict[str, Any]:
    """One prompt up to its last picture, without padding, on a device.

    Args:
        marks: ids of the placeholders.

    Raises:
        InputError: for several prompts, or one without a picture.
    """
    ids = inputs.get("input_ids")
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or len(ids) != 1 or "inputs_embeds" in inputs:
        got = tuple(ids.shape) if isinstance(ids, torch.Tensor) else type(ids).__name__
        raise InputError(f"encode_image takes one prompt: got input_ids {got}, expected (1, tokens); pass one")
    tokens = {name: inputs[name].cpu() for name in OF_TOKENS if inputs.get(name) is not None}
    places = torch.isin(tokens["input_ids"][0], torch.tensor(marks)).nonzero()
    if not len(places) or all(inputs.get(name) is None for name in PIXELS):
        raise InputError("encode_image takes a prompt with a picture: got none; pass what the processor gives for one")
    end = int(places.max()) + 1
    real = slice(None) if "attention_mask" not in tokens else tokens["attention_mask"][0, :end].bool()
    cut = {name: value[:, :end][:, real] for name, value in tokens.items()}
    rest = {name: value for name, value in inputs.items() if name not in OF_TOKENS and value is not None}
    both = {**cut, **rest}
    moved = {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in both.items()}
    return {**moved, START: tuple(cut["input_ids"][0].tolist())}


def alike(prompts: Sequence[Inputs]) -> list[list[int]]:
    """Numbers of those that can be put together: whose pictures' tensors differ in the first dimension alone."""
    groups: dict[Any, list[int]] = {}
    for number, own in enumerate(prompts):
        shapes = {name: _shape(value) for name, value in own.items() if name not in (*OF_TOKENS, START)}
        whole = all(shape is not None for shape in shapes.values())
        groups.setdefault(tuple(sorted(shapes.items())) if whole else number, []).append(number)
    return list(groups.values())


def _shape(value: Any) -> Any:
    return (tuple(value.shape[1:]), value.dtype) if isinstance(value, torch.Tensor) and value.ndim else None


def collated(prompts: Sequence[Inputs]) -> dict[str, Any]:
    """Several prompts as one batch, padded on the left with zeros, their pictures one after the other."""
    names = [name for name in prompts[0] if name != START]
    if len(prompts) == 1:
        return {name: prompts[0][name] for name in names}
    lengths = [own["input_ids"].shape[1] for own in prompts]
    made: dict[str, Any] = {}
    for name in names:
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
