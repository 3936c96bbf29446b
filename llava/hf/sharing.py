"""A picture encoded once and asked often: the cache of a prompt up to its last picture, which questions go on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llava.errors import InputError
from llava.hf.cache import PromptCache
from llava.hf.plan import Plan
from llava.hf.seeing import PIXELS
from llava.reduction.base import name_of

OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


@dataclass(frozen=True)
class ImagePrefix:
    """What `encode_image` returns and `ask` starts from. Belongs to one reduced model.

    Attributes:
        ids: (1, P) int64, the prompt up to and with its last placeholder.
        cache: of one row, in transformers' own form: a copy of it (`copy.deepcopy`) is a `past_key_values` of
            `generate`, whose prompt begins with `ids`.
        plan: of the model.
    """

    ids: torch.Tensor
    cache: PromptCache
    plan: Plan


def encoded_prefix(model: Any, plan: Plan, inputs: dict[str, Any]) -> ImagePrefix:
    """See `Reduced.encode_image`."""
    method, ids = plan.inside, inputs.get("input_ids")
    if method.reads_question or method.question_at_encoder or method.chooses_again:
        raise InputError(
            f"a picture is shared by questions that its tokens do not depend on: got {name_of(method)}, which chooses "
            f"them by the question; use generate, or a method that does not read it"
        )
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or len(ids) != 1 or "inputs_embeds" in inputs:
        got = tuple(ids.shape) if isinstance(ids, torch.Tensor) else type(ids).__name__
        raise InputError(f"encode_image takes one prompt: got input_ids {got}, expected (1, tokens); pass one")
    marks = [getattr(model.config, name, None) for name in ("image_token_id", "video_token_id")]
    places = torch.isin(ids[0].cpu(), torch.tensor([mark for mark in marks if mark is not None])).nonzero()
    if not len(places) or all(inputs.get(name) is None for name in PIXELS):
        raise InputError("encode_image takes a prompt with a picture: got none; pass what the processor gives for one")
    end = int(places.max()) + 1
    begun = {name: value[:, :end] if name in OF_TOKENS else value for name, value in inputs.items()}
    cache = PromptCache(model.config.get_text_config(decoder=True))
    with torch.no_grad():
        model(**begun, past_key_values=cache, use_cache=True, logits_to_keep=1)
    mask = begun.get("attention_mask")
    real = slice(None) if mask is None else mask[0].bool()  # padding never entered the cache
    short = begun["input_ids"][:, real]
    cache.dropped -= end - short.shape[1]
    return ImagePrefix(short, cache, plan)


def asked(model: Any, prefix: ImagePrefix, questions: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """See `Reduced.ask`."""
    if prefix.plan is not model.__dict__["_plan"]:
        raise InputError("a prefix belongs to the reduced model that encoded it: got another's; encode the image again")
    start = prefix.ids[0].tolist()
    rows = [_after(start, torch.as_tensor(one).flatten().tolist()) for one in questions]
    if not rows or not all(rows):
        raise InputError("ask takes questions of a token or more after the picture: got an empty one; leave it out")
    device, width = prefix.ids.device, max(map(len, rows))
    config = kwargs.get("generation_config") or model.generation_config
    filler = config.pad_token_id if config.pad_token_id is not None else 0
    ids = torch.tensor([[*start, *[filler] * (width - len(row)), *row] for row in rows], device=device)
    real = [[1] * len(start) + [0] * (width - len(row)) + [1] * len(row) for row in rows]
    copies = max(int(kwargs.get(name, getattr(config, name)) or 1) for name in ("num_beams", "num_return_sequences"))
    room = width + int(kwargs.get("max_new_tokens") or 0)
    given = {"input_ids": ids, "attention_mask": torch.tensor(real, device=device)}
    made = model.generate(**given, past_key_values=_spread(prefix.cache, len(rows), copies, room), **kwargs)
    if isinstance(made, torch.Tensor):
        return made[:, ids.shape[1] :]
    made.sequences = made.sequences[:, ids.shape[1] :]
    return made


def _after(start: list[int], question: list[int]) -> list[int]:
    """What is to be run after a prefix."""
    return question[len(start) :] if question[: len(start)] == start else question


def _spread(cache: PromptCache, prompts: int, copies: int, room: int) -> PromptCache:
    """The cache of one row as that of several, which share its tensors until they grow.

    Args:
        copies: of each prompt, for beams or several answers; transformers makes them of all but the cache.
    """
    rows = prompts * copies
    made = PromptCache(cache._config, room)
    made.open([(stage.first, stage.stop) for stage in cache.stages], cache.keeps_positions)
    made.dropped = cache.dropped
    for new, old in zip(made.layers, cache.layers):
        new.lazy_initialization(old.keys, old.values)
        new.keys, new.values = (held.expand(rows, -1, -1, -1) for held in (old.keys, old.values))
    for stage, held in zip(made.stages, cache.stages):
        stage.filler = None if held.filler is None else held.filler.expand(rows, -1)
    if cache.rope_deltas is not None:
        made.rope_deltas = cache.rope_deltas.expand(prompts, -1)
    return made
