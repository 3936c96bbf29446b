"""Share the budget out among runs of the picture, then keep the best-attended tokens of each.

HoloV, arXiv 2510.02912 (NeurIPS 2025); released as obananas/HoloV, llava/model/utils.py. The patches, in reading order,
are cut into 16 runs (the paper draws windows); a run's budget follows its attention from [CLS] and, a little, how
unevenly its projected tokens resemble each other (`rules/holov.py`). All views of a LLaVA-NeXT image are cut as one.

Where a run is given more places than it has tokens, the released code wastes them: it fills up with vectors of zeros.
It also hands the tokens of a run on by falling attention, not in the order of the picture. `published` does both. By
default such places go to the other runs in proportion to their weights, and the picture's order stays.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch

from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import check_image, checked_number, positive, switch
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.published import published_setting
from llava.reduction.rules.holov import holov_order
from llava.reduction.selection import Selection
from llava.reduction.stages import patch_scores


@dataclass(frozen=True)
class HoloV(Reduction):
    """A budget for each run of patches, attention within it."""

    new_image_token_num: int = field(metadata={"help": "tokens of an image that enter the LLM, e.g. 64"})
    num_patches: int = field(default=16, metadata={"help": "runs that the picture is cut into; released: 16"})
    alpha: float = field(default=0.09, metadata={"help": "weight of a run's unevenness; released: 0.09"})
    published: bool = published_setting("as the released code, with vectors of zeros and tokens by attention")
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "patches"
    paper: ClassVar[PaperSettings] = counted("new_image_token_num", published=True)

    def __post_init__(self) -> None:
        positive("new_image_token_num", self.new_image_token_num)
        positive("num_patches", self.num_patches)
        object.__setattr__(self, "alpha", checked_number("alpha", self.alpha, 0))
        switch("published", self.published)

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        scores = evidence.of_views(patch_scores(evidence.encoder))
        counts = tuple(min(self.new_image_token_num, length) for length in evidence.lengths)
        settings = (self.num_patches, self.alpha, self.published)
        order = holov_order(evidence.values, scores, counts, evidence.lengths, *settings)
        ranked = scores.masked_fill(~evidence.valid, -torch.inf)
        return Selection(order, counts, ranked, zeros=self.published)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [self.new_image_token_num]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_image("new_image_token_num", self.new_image_token_num, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """`retain` tokens of an image, of all its views together."""
        return cls(new_image_token_num=retain)
