"""A turn of a conversation that brings new pictures while the cache holds the earlier turns."""

from typing import Any

import torch

from llava.errors import InputError
from llava.hf.plan import Plan
from llava.hf.seeing import PIXELS
from llava.hf.spans import runs

GRIDS = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}
TOKENS = {"pixel_values": "image_token_id", "pixel_values_videos": "video_token_id"}


def of_new_turn(call: Any, given: dict[str, Any], ids: Any, past: int, plan: Plan) -> dict[str, Any]:
    """Arguments of `generate` with the pictures that are not in the cache, and the positions of the whole conversation.

    Args:
        call: the model of the call.
        given: what the processor gave for the whole conversation, and the rest.
        ids: (B, T) int64, the whole conversation.
        past: columns that the cache holds.

    Raises:
        InputError: for a method with stages inside the LLM, or pictures that cannot be told apart.
    """
    kinds = [name for name in PIXELS if given.get(name) is not None]
    if not kinds:
        return given
    if plan.inside.layers:
        raise InputError(
            "between layers image tokens are dropped in the first prefill alone: got a picture after a cache; pass the "
            "whole conversation without past_key_values, or take a method that acts before the LLM"
        )
    if not isinstance(ids, torch.Tensor) or ids.shape[1] <= past:
        raise InputError(
            f"a turn with a new picture is passed with the whole conversation: got no input_ids of more than the "
            f"{past} columns that past_key_values holds; pass what the processor gives for all turns"
        )
    if (several := given.get("batch_num_images")) is not None and torch.as_tensor(several).gt(1).any():
        raise InputError(
            "OneVision sees a picture that is not alone in its conversation without tiles: got a second one after a "
            "cache; pass the whole conversation without past_key_values"
        )
    made = {**given, **_positions(call, given, ids)}
    for name in kinds:
        made |= _newest(given, name, ids, getattr(call.config, TOKENS[name]), past)
    return made


def _positions(call: Any, given: dict[str, Any], ids: torch.Tensor) -> dict[str, Any]:
    """Qwen's, of the whole conversation, (4, B, T) with text's first; nothing for others."""
    if not hasattr(call.model, "get_rope_index"):
        return {}
    mask = given.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    named = {name: given[name] for name in ("mm_token_type_ids", *GRIDS.values()) if given.get(name) is not None}
    triples, deltas = call.model.get_rope_index(ids, attention_mask=mask, **named)
    given["past_key_values"].rope_deltas = call.model.rope_deltas = deltas
    text = (mask.long().cumsum(dim=-1) - 1).clamp(min=0)
    return {"position_ids": torch.cat([text[None], triples])}


def _newest(given: dict[str, Any], name: str, ids: torch.Tensor, token: int, past: int) -> dict[str, Any]:
    """The pixels of one kind, and what goes with them, of those pictures whose placeholders are not cached."""
    found = [run for row in ids.cpu() for run in runs(row, token)]
    fresh = [number for number, (first, _) in enumerate(found) if first >= past]
    pixels, grids = given[name], given.get(GRIDS[name])
    if grids is not None:
        sizes = grids.prod(dim=1).tolist()
    elif (placeholders := sum(length for _, length in found)) % max(1, len(pixels)) == 0 and pixels.ndim == 4:
        each = placeholders // max(1, len(pixels))  # of a tile, or of a picture that is not cut into tiles
        sizes = [length // each for _, length in found]
    else:
        sizes = [1] * len(pixels)
    if len(sizes) != len(found) or sum(sizes) != len(pixels):
        raise InputError(
            f"the pictures of a conversation are told apart by the text between their placeholders: got {len(sizes)} "
            f"pictures and {len(found)} runs of placeholders; pass all pictures of the whole conversation"
        )
    if any(first < past < first + length for first, length in found):
        raise InputError("a cache ends between pictures: got one that ends within one; leave past_key_values out")
    if not fresh:
        return {name: None, GRIDS[name]: None}
    parts = pixels.split(sizes)
    made = {name: torch.cat([parts[number] for number in fresh])}
    for other in (GRIDS[name], "image_sizes" if name == "pixel_values" else ""):
        if given.get(other) is not None:
            made[other] = torch.as_tensor(given[other])[fresh]
    if name == "pixel_values" and given.get("batch_num_images") is not None:
        made["batch_num_images"] = torch.ones(len(fresh), dtype=torch.long)
    return made
