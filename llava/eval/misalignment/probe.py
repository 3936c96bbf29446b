"""A method that drops nothing and writes down, at every LLM layer, who looks at which image token."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.reduction import Geometry, Reduction, Selection
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.scoring import mean_received
from llava.reduction.stages import image_scores, keep_top


@dataclass(frozen=True)
class Rows:
    """What the image tokens of I images receive in one layer, means over heads; (I, n) float32, 0 where none is.

    Attributes:
        layer: from 0.
        text: mean over the text tokens after the image; of the mass, not normalised: the rest goes elsewhere.
        last: from the last prompt token, by which PyramidDrop ranks.
        visual: mean over the image's own tokens, by which VisionDrop ranks.
        lengths: tokens of each image.
    """

    layer: int
    text: torch.Tensor
    last: torch.Tensor
    visual: torch.Tensor
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Probe(Reduction):
    """Everything is kept. Made anew for every batch: `seen` is what it saw, in the order of the layers.

    Of an attention matrix only its means over queries are kept, and one layer's is there at a time.
    """

    layer_list: list[int]
    seen: list[Rows] = field(default_factory=list, compare=False)
    reads_question: ClassVar[bool] = True

    @classmethod
    def of(cls, layers: int) -> "Probe":
        """For a model of so many layers, 2 or more."""
        return cls(list(range(1, layers)))

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        self.seen.append(rows_of(self.layer_list[stage] - 1, evidence.ran))
        if stage == len(self.layer_list) - 1:
            self.seen.append(rows_of(self.layer_list[stage], evidence))
        return keep_top(evidence, evidence.valid.float(), evidence.lengths)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.most_tokens] * (1 + len(self.layer_list))


def rows_of(layer: int, evidence: LayerEvidence) -> Rows:
    """One layer's."""
    valid = evidence.valid
    counts = evidence.text_valid.sum(dim=1, keepdim=True).clamp(min=1)
    received = (
        mean_received(evidence.attention_from_text(), counts),
        mean_received(evidence.attention_from_last()),
        image_scores(evidence),
    )
    text, last, visual = (scores.masked_fill(~valid, 0.0).cpu() for scores in received)
    return Rows(layer, text, last, visual, evidence.lengths)
