"""Keep the tokens that are farthest from each other, whatever they show, after the projector.

DivPrune, arXiv 2503.02175 (CVPR 2025); released as vbdi/divprune, LLaVA/llava/model/llava_arch.py. Distance is one
minus cosine; each next token is the one whose nearest chosen token is farthest (`rules/divprune.py`). The tokens of a
LLaVA-NeXT image, its newlines among them, are one pool, so newlines can be dropped.

The released code computes distances in the model's own precision, where float16 makes ties; here they are float32. It
lets chosen tokens stay in the race, so that of exact copies one may be taken twice: `published` does that too, by
default what is chosen is out. Where no two tokens are copies, both are the same.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import checked_number, switch
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.paper import PaperSettings, shared_out
from llava.reduction.published import published_setting
from llava.reduction.rules.basics import ascending
from llava.reduction.rules.divprune import farthest_first, kept_of_share
from llava.reduction.selection import Selection
from llava.reduction.stages import order_scores


@dataclass(frozen=True)
class DivPrune(Reduction):
    """The most diverse tokens, once, before the LLM."""

    subset_ratio: float = field(
        metadata={"help": "share of an image's tokens that enter the LLM; released: 0.098, which is 56 of 576"}
    )
    published: bool = published_setting("as the released code, which can take a copy of a token twice")
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "image"
    paper: ClassVar[PaperSettings] = shared_out("subset_ratio", published=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subset_ratio", checked_number("subset_ratio", self.subset_ratio, 0, 1))
        switch("published", self.published)

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        counts = tuple(max(1, kept_of_share(self.subset_ratio, length)) for length in evidence.lengths)
        order = farthest_first(evidence.values, counts, evidence.valid, self.published)
        return Selection(ascending(order), counts, order_scores(order, counts, evidence.valid))

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [max(1, kept_of_share(self.subset_ratio, geometry.most_tokens))]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        if geometry.patches and kept_of_share(self.subset_ratio, geometry.patches) < 1:
            raise InputError(
                f"subset_ratio must leave at least one token: got {self.subset_ratio:g}, which is none of "
                f"{geometry.patches}; raise it"
            )

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """`retain` tokens of the largest image, and the same share of others."""
        if retain > geometry.most_tokens:
            raise InputError(
                f"--retain of divprune must not exceed what an image has: got {shown(retain)}, expected at most "
                f"{geometry.most_tokens}; lower it"
            )
        return cls(subset_ratio=retain / geometry.most_tokens)
