"""A reduced model that recognises pictures: for programs that call `generate` with each question's pixels.

What was made of a picture is kept, up to so many bytes, and found again by the picture's pixels and the text before it.
"""

import hashlib
from typing import Any

import torch

from llava.hf.cloning import clone, mixed
from llava.hf.prefix import ImagePrefix
from llava.hf.sharing import logits_after, reads_question
from llava.hf.spans import picture_layout
from llava.model.generation.prefix_store import PrefixStore

# Arguments with which a call is left to the reduced model as it is: pictures that are not this call's alone.
LEFT_ALONE = ("past_key_values", "inputs_embeds", "pixel_values_videos", "streamer", "trace")
NEEDED = ("input_ids", "pixel_values", "image_grid_thw", "mm_token_type_ids")
OF_CALL = (*NEEDED, "attention_mask")


def remembering(reduced: Any, limit: int) -> Any:
    """A model of the same class and interface whose calls share what was made of pictures. One thread at a time.

    Args:
        reduced: from `llava.hf.reduce`, of one of Qwen's classes.
        limit: bytes to be kept.
    """
    made = clone(reduced, mixed(Remembering, type(reduced), type(reduced).__name__))
    made.__dict__["store"] = PrefixStore(limit)
    return made


class Remembering:
    """Mixed in before the class of a reduced model."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """transformers' `generate`; other calls than of prompts with pictures are those of the reduced model."""
        host: Any = super()
        if args or not _can_be_shared(kwargs):
            return host.generate(*args, **kwargs)
        rest = {name: value for name, value in kwargs.items() if name not in OF_CALL}
        prefixes, questions = self._found(kwargs)
        made = host.ask(prefixes, questions, **rest)
        ids = kwargs["input_ids"]
        return torch.cat([ids.repeat_interleave(len(made) // len(ids), dim=0), made], dim=1)

    def last_logits(self, keep: int, **given: Any) -> torch.Tensor:
        """(B, keep, V), the logits of the last tokens of prompts that are padded on the left.

        The method must not read the question: which of the last tokens are its answer is not known here.
        """
        model: Any = self
        assert not reads_question(model.__dict__["_plan"]), "see Reduced.forward with labels"
        if not _can_be_shared(given):
            return model(**given, logits_to_keep=keep).logits
        return logits_after(model, *self._found(given), keep)

    def _found(self, given: dict[str, Any]) -> tuple[list[ImagePrefix | None], list[list[int]]]:
        """The prefix of each prompt, encoded where its picture is new, and the ids behind it."""
        model: Any = self
        store: PrefixStore = model.__dict__["store"]
        prompts = _apart(model, given)
        keys = [None if prompt is None else _key(prompt) for prompt, _ in prompts]
        found: dict[str, Any] = {key: store.get(key) for key in keys if key is not None}
        new = {key: prompt for key, (prompt, _) in zip(keys, prompts) if key is not None and found[key] is None}
        for key, prefix in zip(new, model.encode_images([prompt for prompt in new.values() if prompt is not None])):
            found[key] = prefix
            store.put(key, prefix)
        return [None if key is None else found[key] for key in keys], [question for _, question in prompts]


def _can_be_shared(given: dict[str, Any]) -> bool:
    """Whether a call is of whole prompts with pictures, and wants tokens."""
    plain = all(given.get(name) is None for name in LEFT_ALONE) and given.get("use_cache") is not False
    return plain and all(given.get(name) is not None for name in NEEDED) and not given.get("return_dict_in_generate")


def _apart(model: Any, given: dict[str, Any]) -> list[tuple[dict[str, torch.Tensor] | None, list[int]]]:
    """Each prompt up to its last picture with its pixels, on the host (None: it has none), and the ids behind it."""
    names = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    held = {name: given[name].cpu() for name in names if given.get(name) is not None}
    ids, grids, token = held["input_ids"], held["image_grid_thw"], model.config.image_token_id
    mask = held.get("attention_mask", torch.ones_like(ids)).bool()
    patches = grids.prod(dim=1).tolist()
    unit = model.config.vision_config.spatial_merge_size**2
    counts = {token: tuple(count // unit for count in patches)}
    layout, numbers = picture_layout(ids, counts, tuple(mask.sum(dim=1).tolist()))
    pixels, prompts = held["pixel_values"].split(patches), []
    for row in range(len(ids)):
        own = [number for span, number in zip(layout.spans, numbers) if span.row == row]
        real, kinds = ids[row][mask[row]], held["mm_token_type_ids"][row][mask[row]]
        end = int((real == token).nonzero().max()) + 1 if own else 0
        start = {"input_ids": real[None, :end], "mm_token_type_ids": kinds[None, :end]}
        if own:
            start |= {"pixel_values": torch.cat([pixels[number] for number in own]), "image_grid_thw": grids[own]}
        prompts.append((start if own else None, real[end:].tolist()))
    return prompts


def _key(prompt: dict[str, torch.Tensor]) -> str:
    """What makes a picture and the text before it the same."""
    made = hashlib.sha256()
    for name in ("input_ids", "image_grid_thw", "pixel_values"):
        value = prompt[name].contiguous()
        made.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        made.update(value.view(torch.uint8).numpy().tobytes())
    return made.hexdigest()
