"""Keep the patches that [CLS] attends to and fold the others into a few, all inside the vision encoder.

VisionZip, arXiv 2412.04467 (CVPR 2025). The LLM sees fewer tokens and is left as it is. With 0 contextual tokens the
others are dropped.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from llava.reduction.base import Evidence, Geometry, Reduction
from llava.reduction.checks import check_encoder_counts, check_encoder_pair
from llava.reduction.paper import PaperSettings
from llava.reduction.schedule import per_view
from llava.reduction.selection import Selection
from llava.reduction.stages import encoder_stage


@dataclass(frozen=True)
class VisionZip(Reduction):
    """[CLS] ranking, once, in the encoder."""

    dominant: int = field(metadata={"help": "dominant tokens leaving the vision encoder, [CLS] included, e.g. 54"})
    contextual: int = field(metadata={"help": "contextual tokens leaving the vision encoder, e.g. 10"})

    usual_budget: ClassVar[int | None] = 64  # of its code: 54 dominant and 10 contextual tokens
    paper: ClassVar[PaperSettings] = {
        192: {"dominant": 162, "contextual": 30},
        128: {"dominant": 108, "contextual": 20},
        64: {"dominant": 54, "contextual": 10},
    }

    def __post_init__(self) -> None:
        check_encoder_pair(self.dominant, self.contextual)

    def at_encoder(self, evidence: Evidence) -> Selection:
        return encoder_stage(evidence, self.dominant, self.contextual)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.views * (self.dominant + self.contextual)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_encoder_counts(self.dominant, self.contextual, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The paper's proportion, 54 dominant to 10 contextual, of `retain` tokens per image."""
        each = per_view(retain, geometry, "visionzip", least=2)  # a dominant one and a contextual one
        contextual = max(1, round(each * 10 / 64))
        return cls(dominant=each - contextual, contextual=contextual)
