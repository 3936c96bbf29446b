"""Generation settings that mean something else where a prompt has images, or that cannot be obeyed."""

from typing import Any

import torch
from transformers import GenerationConfig

from llava.errors import InputError, shown

# What each would need, and what to do instead.
_REFUSED = {
    "assistant_model": "its drafts would need the images too; use prompt_lookup_num_tokens, or leave it out",
    "assistant_early_exit": "the early layers hold image tokens that later ones do not; use prompt_lookup_num_tokens",
    "cache_implementation": "image tokens are dropped in a cache of this package's own; leave it out",
    "prefill_chunk_size": "image tokens are dropped in one prefill; leave it out",
    "token_healing": "it would change a prompt whose images are already in place; leave it out",
}


def value_of(name: str, kwargs: dict[str, Any], config: GenerationConfig) -> Any:
    """A setting of a call: its own, that of its `generation_config`, or the model's; None: not set."""
    if name in kwargs:
        return kwargs[name]
    own = getattr(kwargs.get("generation_config"), name, None)
    return own if own is not None else getattr(config, name, None)


def checked_settings(kwargs: dict[str, Any], config: GenerationConfig) -> dict[str, Any]:
    """The arguments of a call for transformers' `generate`, without what this package does by itself.

    Raises:
        InputError: names a setting that cannot be obeyed.
    """
    own_cache = value_of("cache_implementation", kwargs, config) in ("dynamic", "dynamic_full")
    if own_cache:
        kwargs = kwargs | {"cache_implementation": None}
    for name, reason in _REFUSED.items():
        value = value_of(name, kwargs, config)
        if value not in (None, False):
            given = type(value).__name__ if isinstance(value, torch.nn.Module) else shown(value)
            raise InputError(f"generate takes no {name}: got {given}; {reason}")
    return kwargs


def guided(kwargs: dict[str, Any], config: GenerationConfig, last_tokens: torch.Tensor) -> dict[str, Any]:
    """Arguments with what classifier-free guidance compares with: as in transformers, a prompt's last token alone.

    transformers would take it from prompts, which it does not see here.

    Args:
        last_tokens: (B, 1) int64, of text.
    """
    scale = value_of("guidance_scale", kwargs, config)
    if scale in (None, 1):
        return kwargs
    if (value_of("num_beams", kwargs, config) or 1) > 1:
        raise InputError(
            f"guidance_scale cannot follow beams: got {shown(scale)} with num_beams above 1; use one of them"
        )
    ids = kwargs.get("negative_prompt_ids")
    if ids is None and int(last_tokens.min()) < 0:
        raise InputError(
            f"guidance_scale compares with a prompt's last token: got {shown(scale)} for a prompt that ends with "
            f"<image>; give negative_prompt_ids"
        )
    copies = value_of("num_return_sequences", kwargs, config) or 1
    repeated = {"negative_prompt_ids": (ids if ids is not None else last_tokens).repeat_interleave(copies, dim=0)}
    mask = kwargs.get("negative_prompt_attention_mask")
    if mask is not None:
        repeated["negative_prompt_attention_mask"] = mask.repeat_interleave(copies, dim=0)
    return kwargs | repeated
