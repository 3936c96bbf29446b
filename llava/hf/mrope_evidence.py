"""What a method may ask a decoder layer of Qwen's vision-language models; letters as in `llava.model.evidence`."""

import copy
from functools import cached_property
from typing import Any

import torch

from llava.model.evidence.llama import LlamaEvidence

Rotary = tuple[torch.Tensor, torch.Tensor]


class MRopeEvidence(LlamaEvidence):
    """Evidence of a layer whose positions have a time, a row and a column."""

    @cached_property
    def ran(self) -> "MRopeEvidence":
        """The same of the layer that has just run, about the tokens that entered it."""
        around = self._around
        assert around is not None, "nothing is known around this layer"
        return MRopeEvidence(around.layer_before, around.entered_before, self._layout, self._rotary, self._asking)

    @cached_property
    def unrotated(self) -> "MRopeEvidence":
        """The same with queries and keys as they are before rotation."""
        other = copy.copy(self)
        for name in ("_all_keys", "_keys", "unrotated"):
            other.__dict__.pop(name, None)
        other._cos, other._sin = torch.ones_like(self._cos), torch.zeros_like(self._sin)
        return other


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
