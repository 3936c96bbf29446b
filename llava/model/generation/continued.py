"""Conversations that go on from a cache: which of their tokens and images are new, and what of a cache to forget."""

from typing import Any

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.image_inputs import images_per_row, one_for_each, sort_images
from llava.reduction import Reduction
from llava.reduction.sent import sent


def unseen_tokens(input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: StagedCache) -> torch.Tensor:
    """(B, L) bool: the real tokens of a conversation that a cache does not hold yet."""
    real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    cached = cache.real_tokens(len(input_ids)) - torch.tensor(cache.surplus)
    return real & (real.cumsum(dim=1) > cached.to(real.device)[:, None])


def unseen_images(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    unseen: torch.Tensor,
    images: Any,
    image_sizes: Any,
    modalities: Any,
    method: Reduction,
) -> tuple[Any, Any, Any]:
    """The images of the new tokens, their sizes and modalities, where those of the whole conversation are given.

    Args:
        input_ids, attention_mask: the whole conversation.
        unseen: from `unseen_tokens`.
        images, image_sizes, modalities: of the whole conversation, or of the new tokens alone.

    Raises:
        InputError: for a new image with a method that drops inside the LLM. It ranks an image by attention over all
            that stands before it, as it was before this layer's drop; the cache holds what came after. Also for a
            method that masks.
    """
    if method.masks:
        raise InputError(
            "a method that masks image tokens chooses again for one new token at a time: got a cached conversation "
            "that goes on; pass the whole conversation without past_key_values"
        )
    counts = images_per_row(input_ids, attention_mask)
    is_image = input_ids == IMAGE_TOKEN_INDEX
    wanted = unseen[is_image if attention_mask is None else is_image & attention_mask.bool()].tolist()
    if any(wanted) and method.layers:
        raise InputError(
            f"a cached conversation takes no new image with a method that drops inside the LLM: got "
            f"{sum(wanted)} new; pass the whole conversation without past_key_values"
        )
    if images is None or not one_for_each(images, counts):
        return images, image_sizes, modalities
    whole = sort_images(input_ids, images, image_sizes, attention_mask, modalities)
    new = [at for at, unknown in enumerate(wanted) if unknown]
    sizes = [whole.sizes[at] for at in new] if whole.sizes is not None else None
    kinds = [whole.modalities[at] for at in new] if whole.modalities is not None else None
    return [whole.views[at] for at in new], sizes, kinds


def finished(sequences: torch.Tensor, end_tokens: list[int]) -> torch.Tensor:
    """(B, new) bool: positions after a row's first end token, which transformers fills with padding."""
    ended = torch.isin(sequences, sent(end_tokens, sequences.device, sequences.dtype)).long()
    return ended.cumsum(dim=1) - ended > 0
