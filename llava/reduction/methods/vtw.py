"""Withdraw every image token after half of the LLM's layers: what they had to say is in the text by then.

VTW, arXiv 2405.05803 (AAAI 2025); released as lzhxmu/VTW, language_model/VTW.py. Nothing is ranked and no question is
read, so an image's whole work is shared between its questions. The layer was found by comparing answers on some twenty
samples: the 15th or 16th of 7B models, 16 by default. Text after the image keeps its positions (`pe_type` "keep"); the
released code can renumber it too.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import impossible
from llava.reduction.checks import positive
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top

FAR = 0.25  # a budget that whole layers miss by more than this share is none


@dataclass(frozen=True)
class VTW(Reduction):
    """All image tokens up to a layer, none after it."""

    layer: int = field(default=16, metadata={"help": "LLM layers that see the image tokens; later ones see none"})
    positions: str = position_policy(KEEP)
    layer_setting: ClassVar[str] = "layer"

    def __post_init__(self) -> None:
        positive("layer", self.layer)

    @property
    def layers(self) -> list[int]:
        return [self.layer]

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        return keep_top(evidence, evidence.valid.float(), (0,) * len(evidence.lengths))

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.most_tokens, 0]

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """As many layers as come nearest to an average of `retain`; a layer is all that can be given or taken."""
        layers, each = geometry.layers, geometry.most_tokens / geometry.layers
        layer = max(1, round(retain / each))
        if abs(layer * each - retain) > FAR * retain or layer >= layers:
            raise impossible("vtw", retain, each, (layers - 1) * each)
        return cls(layer=layer)
