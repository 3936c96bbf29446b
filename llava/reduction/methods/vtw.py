"""Withdraw every image token after half of the LLM's layers: what they had to say is in the text by then.

VTW, arXiv 2405.05803 (AAAI 2025); released as lzhxmu/VTW, language_model/VTW.py. Nothing is ranked and no question is
read, so an image's whole work is shared between its questions. The layer was found by comparing answers on some twenty
samples: the 15th or 16th of 7B models, 16 by default. Text after the image keeps its positions (`pe_type` "keep"); the
released code can renumber it too.

Whole layers come to few budgets (multiples of 18 tokens for 576 in 32 layers). So that every budget can be compared,
`remainder` lets that many tokens, spread evenly over the image, stay for one layer more; published: none.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch

from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import impossible, too_shallow
from llava.reduction.checks import positive, whole_number
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.selection import Selection
from llava.reduction.sent import sent
from llava.reduction.stages import own_counts


@dataclass(frozen=True)
class VTW(Reduction):
    """All image tokens up to a layer, none after it."""

    layer: int = field(default=16, metadata={"help": "LLM layers that see the image tokens; later ones see none"})
    remainder: int = field(
        default=0, metadata={"help": "image tokens that stay for one layer more, evenly spread; published: 0"}
    )
    positions: str = position_policy(KEEP)
    layer_setting: ClassVar[str] = "layer"

    def __post_init__(self) -> None:
        positive("layer", self.layer)
        whole_number("remainder", self.remainder)

    @property
    def layers(self) -> list[int]:
        return [self.layer, self.layer + 1] if self.remainder else [self.layer]

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        none = (0,) * len(evidence.lengths)
        last = stage == len(self.layers) - 1
        counts = none if last else tuple(map(min, own_counts(evidence, self.remainder), evidence.lengths))
        scores = torch.zeros_like(evidence.valid, dtype=torch.float32).masked_fill(~evidence.valid, -torch.inf)
        return Selection(evenly_spread(evidence.valid, counts), counts, scores)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        whole = geometry.most_tokens
        return [whole, min(self.remainder, whole), 0] if self.remainder else [whole, 0]

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """As many whole layers as an average of `retain` allows, and the rest of it in one layer more."""
        layers, whole = geometry.layers, geometry.most_tokens
        if layers < 2:
            raise too_shallow("vtw", geometry)
        layer, remainder = divmod(retain * layers, whole)
        if layer < 1 or layer + (remainder > 0) >= layers:
            raise impossible("vtw", retain, whole / layers, whole * (layers - 1) / layers)
        return cls(layer=layer, remainder=remainder)


def evenly_spread(valid: torch.Tensor, counts: tuple[int, ...]) -> torch.Tensor:
    """Tokens 0, n / k, 2 n / k, ... of each image: (I, n) bool and k of each -> (I, max(counts)) int64, as `kept`."""
    number = torch.arange(max(counts), device=valid.device)
    wanted = sent(counts, valid.device)[:, None]
    return torch.where(number < wanted, number * valid.sum(dim=1, keepdim=True) // wanted.clamp(min=1), valid.shape[1])
