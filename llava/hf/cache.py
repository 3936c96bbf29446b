"""The KV cache of a reduced model, which tells `generate` how long the prompt was, not what is left of it."""

from typing import Any

import torch
from transformers import PreTrainedConfig

from llava.model.cache.staged_cache import StagedCache


class PromptCache(StagedCache):
    """A `StagedCache` that transformers may ask for its length.

    `generate` takes as many tokens off a continued conversation as its cache says, and those are the prompt's own: the
    image tokens that were dropped before the first layer count.

    Attributes:
        dropped: columns of the prompts that never entered the first layer.
        rope_deltas: (B, 1) of Qwen's models, which they keep on themselves.
    """

    def __init__(self, config: PreTrainedConfig, room: int = 0) -> None:
        super().__init__(config, room)
        self.dropped = 0
        self.rope_deltas: torch.Tensor | None = None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns of the prompts and answers as the caller has them."""
        held = self.layers[layer_idx].get_seq_length()
        return held + self.dropped if held or self.dropped else 0

    def length(self, stage: int) -> int:
        """Cached columns of a stage, padding included."""
        return self.layers[self.stages[stage].first].get_seq_length()

    def crop(self, size: int) -> None:
        """As `StagedCache.crop`; a length counts the columns that were dropped."""
        super().crop(size - self.dropped if size > 0 else size)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self.rope_deltas = None if self.rope_deltas is None else self.rope_deltas.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self.rope_deltas = None if self.rope_deltas is None else self.rope_deltas[indices.to(self.rope_deltas.device)]

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.dropped, self.rope_deltas = 0, None


def is_filled(cache: Any) -> bool:
    """True for a cache that holds tokens."""
    return cache is not None and cache.get_seq_length() > 0
