"""Which earlier tokens each layer may look at: all, or those in its window, never padding."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import MistralConfig, Qwen2Config
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from llava.errors import InputError
from llava.model.language_model.shared_attention import SHARED_PREFIX

Mask = torch.Tensor | None


def windows_of(config: Any) -> list[int | None]:
    """For each decoder layer, how many of the newest tokens it looks at, its own included; None: all.

    Mistral has one window for all layers. Qwen2 has one for those that `layer_types` names, all others see everything.
    """
    layers = config.num_hidden_layers
    if isinstance(config, MistralConfig):
        return [config.sliding_window] * layers
    if isinstance(config, Qwen2Config):
        kinds: Sequence[str] = config.layer_types or ()
        return [config.sliding_window if kind == "sliding_attention" else None for kind in kinds]
    return [None] * layers


def window_of(attention: Any) -> int | None:
    """The window of one layer's attention, from a decoder that is here."""
    return windows_of(attention.config)[attention.layer_idx]


def layer_masks(
    config: Any,
    hidden: torch.Tensor,
    filler: torch.Tensor | None,
    cache: Cache | None,
    given: torch.Tensor | None,
    bounds: tuple[int, int],
) -> list[Mask]:
    """Masks of new tokens for each layer of a stage, in the form that the configured attention kernel takes.

    Args:
        hidden: (B, n, D), the new tokens.
        filler: (B, T) bool, True at padding among what was seen before and the new tokens; None: there is none.
        cache: what this stage's layers have seen, at its layer 0.
        given: positions that a caller gave for text; transformers looks in them for packed sequences.
        bounds: first and last + 1 layer of the stage.
    """
    count, seen = hidden.shape[1], cache.get_seq_length() if cache is not None else 0
    made: dict[int | None, Mask] = {}
    masks = []
    for window in windows_of(config)[slice(*bounds)]:
        window = None if window is None or window >= seen + count else window
        if window not in made:
            made[window] = _mask(config, hidden, filler, cache, given, window)
        masks.append(made[window])
    return masks


def _mask(
    config: Any,
    hidden: torch.Tensor,
    filler: torch.Tensor | None,
    cache: Cache | None,
    given: torch.Tensor | None,
    window: int | None,
) -> Mask:
    kernel = config._attn_implementation
    if filler is not None and kernel in ("sdpa", SHARED_PREFIX):
        # transformers would ask the device, for every stage and token, whether anything is padding.
        return visible(filler, hidden.shape[1], window)
    if filler is not None and window is not None and not kernel.startswith("flash"):
        # Padding may lie between two tokens; transformers counts it as part of a window, flash kernels take it out.
        if kernel != "eager":
            raise InputError(
                f"a sliding window beside padding needs sdpa, eager or flash attention: got {kernel}; use sdpa"
            )
        return as_added(visible(filler, hidden.shape[1], window), hidden.dtype)
    return (create_causal_mask if window is None else create_sliding_window_causal_mask)(
        config=config,
        inputs_embeds=hidden,
        attention_mask=None if filler is None else (~filler).long(),
        past_key_values=cache,
        # Without a cache, transformers looks in the positions for packed sequences; its own rows have none.
        position_ids=given,
    )


def visible(filler: torch.Tensor, count: int, window: int | None = None) -> torch.Tensor:
    """(B, T) bool, True at padding -> (B, 1, count, T) bool: what the newest `count` of T tokens may look at.

    A window counts tokens, not columns: padding between them takes no place in it.
    """
    column = torch.arange(filler.shape[1], device=filler.device)
    allowed = (column <= column[-count:, None]) & ~filler[:, None, None]
    if window is None:
        return allowed
    place = (~filler).cumsum(dim=1)
    return allowed & (place[:, None, None] > place[:, None, -count:, None] - window)


def as_added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A bool mask as eager attention takes it: 0 where a token may look, the lowest number elsewhere."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
