"""Keep the patches that [CLS] attends to most, and drop the others, all inside the vision encoder.

FasterVLM, arXiv 2412.01818v1; released as Theia-4869/FasterVLM, llava/model/llava_arch.py. Nothing is merged, [CLS]
itself is dropped, and the LLM is left as it is: VisionZip without its contextual tokens. The released code has nothing
to mend, so there is no `published` setting. It ranks in the model's own precision, where float16 makes ties; here the
ranking is float32. An encoder without [CLS] (SigLIP) ranks patches by the attention they receive. Rows of a LLaVA-NeXT
image keep their newline tokens on top of the patches, as released.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from llava.reduction.base import Evidence, Geometry, Reduction
from llava.reduction.checks import check_patches, positive
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.schedule import per_view_beside_newlines
from llava.reduction.selection import NEWLINES, Selection
from llava.reduction.stages import at_most, keep_top, patch_scores


@dataclass(frozen=True)
class FasterVLM(Reduction):
    """[CLS] ranking, once, in the encoder; nothing merged."""

    visual_token_num: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 64"})
    paper: ClassVar[PaperSettings] = counted("visual_token_num")

    def __post_init__(self) -> None:
        positive("visual_token_num", self.visual_token_num)

    def at_encoder(self, evidence: Evidence) -> Selection:
        best = keep_top(evidence, patch_scores(evidence), at_most(evidence, self.visual_token_num))
        return replace(best, arrangement=NEWLINES)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.views * self.visual_token_num + geometry.newlines]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_patches("visual_token_num", self.visual_token_num, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """`retain` tokens: newlines, the rest shared out evenly among the views of a LLaVA-NeXT image."""
        return cls(visual_token_num=per_view_beside_newlines("fastervlm", retain, geometry))
