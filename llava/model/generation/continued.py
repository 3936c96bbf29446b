"""Conversations that go on from a cache: which of their tokens and images are new, and what of a cache to forget."""

from typing import Any

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.image_inputs import list_entries
from llava.reduction import Reduction


def unseen_tokens(input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: StagedCache) -> torch.Tensor:
    """(B, L) bool: the real tokens of a conversation that a cache does not hold yet."""
    real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    cached = cache.real_tokens(len(input_ids)) - torch.tensor(cache.surplus)
    return real & (real.cumsum(dim=1) > cached.to(real.device)[:, None])


def unseen_images(
    input_ids: torch.Tensor, unseen: torch.Tensor, images: Any, image_sizes: Any, modalities: Any, method: Reduction
) -> tuple[Any, Any, Any]:
    """The images of the new tokens, their sizes and modalities, where those of the whole conversation are given."""
    is_image = input_ids == IMAGE_TOKEN_INDEX
    wanted = unseen[is_image].tolist()
    if any(wanted) and method.layers:
        raise InputError(
            f"a cached conversation takes no new image with a method that drops inside the LLM: got "
            f"{sum(wanted)} new; pass the whole conversation without past_key_values"
        )
    if images is None or len(images) != len(wanted):
        return images, image_sizes, modalities
    entries = [entry for entry, new in zip(list_entries(images, image_sizes, modalities), wanted) if new]
    pixels, sizes, kinds = (list(column) for column in zip(*entries)) if entries else ([], [], [])
    return pixels, sizes if image_sizes is not None else None, kinds


def finished(sequences: torch.Tensor, end_tokens: list[int]) -> torch.Tensor:
    """(B, new) bool: positions after a row's first end token, which transformers fills with padding."""
    ended = torch.isin(sequences, torch.tensor(end_tokens, dtype=sequences.dtype, device=sequences.device)).long()
    return ended.cumsum(dim=1) - ended > 0
