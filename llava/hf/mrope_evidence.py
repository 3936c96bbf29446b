"""What a method may ask a decoder layer of Qwen's vision-language models; letters as in `llava.model.evidence`."""

from functools import cached_property
from typing import Any

import torch

from llava.model.evidence.llama import LlamaEvidence
from llava.model.layer_parts import normed, projected, rotated

Rotary = tuple[torch.Tensor, torch.Tensor]


class MRopeEvidence(LlamaEvidence):
    """Evidence of a layer whose queries and keys may pass a norm before they are rotated (Qwen3)."""

    @cached_property
    def ran(self) -> "MRopeEvidence":
        """The same of the layer that has just run, about the tokens that entered it."""
        around = self._around
        assert around is not None, "nothing is known around this layer"
        return MRopeEvidence(around.layer_before, around.entered_before, self._layout, self._rotary, self._asking)

    def _heads(self, projection: Any, norm: str, states: torch.Tensor) -> torch.Tensor:
        """(I, T, D), normed -> (I, heads, T, d)."""
        heads = projected(projection, states).unflatten(-1, (-1, self._attention.head_dim))
        own = getattr(self._attention, norm, None)
        return (heads if own is None else own(heads)).transpose(1, 2)

    def _rotated_keys(self, end: int) -> torch.Tensor:
        """(B, G, end, d)."""
        keys = self._heads(self._attention.k_proj, "k_norm", normed(self._norm, self._hidden[:, :end]))
        return rotated(keys, self._cos[:, :end], self._sin[:, :end])

    def _rotated_queries(self, states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Hidden states (I, R, D) and their rotary tables -> (I, H, R, d)."""
        queries = self._heads(self._attention.q_proj, "q_norm", normed(self._norm, states))
        return rotated(queries, cos, sin)


def one_table(rotary: Rotary, config: Any) -> Rotary:
    """Cosines and sines (B, T, d) of a model's rotary embedding.

    Up to transformers 5.17 or so Qwen2-VL and Qwen2.5-VL had one table each for time, rows and columns, (3, B, T, d),
    whose sections their attention put together.
    """
    cos, sin = rotary
    if cos.ndim == 3:
        return rotary
    sections = list(config.rope_parameters["mrope_section"]) * 2

    def together(table: torch.Tensor) -> torch.Tensor:
        return torch.cat([part[number % 3] for number, part in enumerate(table.split(sections, dim=-1))], dim=-1)

    return together(cos), together(sin)
