"""What a call of a LLaVA model may not mix: caches of others, embeddings with images, positions of other tokens."""

from typing import Any

import torch

from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.reduction import Reduction


def check_cache(cache: Any, tokens: torch.Tensor) -> bool:
    """Whether a cache holds anything that `tokens` (B, ...) follow.

    Raises:
        InputError: for a cache of another kind or of other rows.
    """
    if cache is None:
        return False
    if not isinstance(cache, StagedCache):
        raise InputError(
            f"past_key_values must come from an earlier generate of a LLaVA model: got a {type(cache).__name__}, "
            f"expected a StagedCache; leave it out to start anew (prefix tuning, which makes one, is not supported)"
        )
    cache.check_rows(len(tokens))
    return cache.get_seq_length() > 0


def check_positions(position_ids: torch.Tensor | None, tokens: torch.Tensor) -> None:
    """Refuse positions that are not one for each token of (B, L, ...)."""
    batch, count = tokens.shape[:2]
    if position_ids is not None and tuple(position_ids.shape) not in ((1, count), (batch, count)):
        raise InputError(
            f"position_ids must number each token: got {tuple(position_ids.shape)}, expected {(batch, count)}; leave "
            f"them out for 0, 1, 2, ..."
        )


def check_text(
    input_ids: torch.Tensor | None, embeds: torch.Tensor | None, images: Any, reduction: Reduction | None
) -> None:
    """Refuse embeddings that come with what only ids can have."""
    if embeds is None:
        return
    if input_ids is not None:
        raise InputError("a prompt must be input_ids or inputs_embeds: got both; leave one of them out")
    if images is not None:
        raise InputError(
            "images go where input_ids has -200: got images with inputs_embeds, which do not say where (prompt tuning "
            "makes them); pass input_ids, or embeddings that hold the image tokens already and no images"
        )
    if reduction is not None and reduction.layers:
        raise InputError(
            f"inputs_embeds do not say where images are: got them with a method that drops image tokens after layers "
            f"{reduction.layers}; pass input_ids and images"
        )
