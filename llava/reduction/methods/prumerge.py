"""Keep the patches whose attention stands out, and add to each the patches it resembles most, weighted by attention.

LLaVA-PruMerge, arXiv 2403.15388 (ICCV 2025); released as 42Shawn/LLaVA-PruMerge, multimodal_encoder/clip_encoder.py.
Attention and keys are of CLIP's last layer, whose output LLaVA does not use, taken as one head of full width
(`rules/prumerge.py`). The tokens leave by falling attention, and a last one stands for all that were not kept. The
variant "prumerge+", the released code's own default, keeps patches at even steps besides. How many tokens an image gets
depends on it, unless `adaptive` is false.

The released code counts outliers over all rows it is handed, fails with "+" where there are none or more than a third,
and keeps nothing but the last token of a picture without outliers. `published` does the same, for the views of one
image together. By default each view has its own share, keeps one patch at least, and steps are at least one. With a
fixed share the released "+" may list a patch twice; here it never does (that was not recorded).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import check_cls, checked_number, switch
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.merging import summary
from llava.reduction.paper import PaperSettings, shared_out
from llava.reduction.published import published_setting
from llava.reduction.rules.prumerge import merge_neighbours, prumerge_order, prumerge_scores
from llava.reduction.schedule import per_view_beside_one
from llava.reduction.selection import VIEWS, Selection

VARIANTS = ("prumerge", "prumerge+")
LAST_LAYER = -1


@dataclass(frozen=True)
class PruMerge(Reduction):
    """Outliers of attention, with what resembles them folded in."""

    variant: str = field(default="prumerge", metadata={"help": "prumerge, or prumerge+ with patches at even steps"})
    adaptive: bool = field(default=True, metadata={"help": "false: keep reduction_ratio of the patches of any image"})
    reduction_ratio: float = field(
        default=0.125, metadata={"help": "share of patches kept where adaptive is false; released: 0.125"}
    )
    published: bool = published_setting("outliers of all views together, and as they are")
    paper: ClassVar[PaperSettings] = shared_out("reduction_ratio", beside=1, adaptive=False, published=True)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise InputError(f"variant must be prumerge or prumerge+: got {shown(self.variant)}; leave it out")
        switch("adaptive", self.adaptive)
        switch("published", self.published)
        ratio = checked_number("reduction_ratio", self.reduction_ratio, 0, 1)
        object.__setattr__(self, "reduction_ratio", ratio)

    @property
    def encoder_layers(self) -> tuple[int, ...]:
        return (LAST_LAYER,)

    @property
    def varies(self) -> bool:
        return self.adaptive or self.variant == "prumerge+"

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        query, keys = evidence.layer(LAST_LAYER).single_head()
        scores = prumerge_scores(query, keys)
        share = None if self.adaptive else self.reduction_ratio
        groups = evidence.views if self.published else None
        order, counts = prumerge_order(scores, share, self.variant == "prumerge+", self.published, groups)
        built = merge_neighbours(evidence.values, scores, keys[:, 1:], order, counts)
        last = torch.tensor(counts, device=built.device)[:, None, None]
        rest = summary(built.take_along_dim(last, dim=1), order, scores.shape[1])
        return Selection(order, counts, scores, rest, values=built[:, :-1], arrangement=VIEWS)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        """With `adaptive` or "+" the most there can be; how many there are, only the picture says."""
        kept = geometry.patches if self.varies else int(geometry.patches * self.reduction_ratio)
        return [geometry.views * (kept + 1)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_cls("prumerge", geometry)
        if not self.adaptive and geometry.patches and int(geometry.patches * self.reduction_ratio) < 1:
            raise InputError(
                f"reduction_ratio must leave at least one patch: got {self.reduction_ratio:g}, which is none of "
                f"{geometry.patches}; raise it"
            )

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """A fixed share: of each view one token fewer than its part of `retain`, and the token of the others."""
        return cls(adaptive=False, reduction_ratio=per_view_beside_one("prumerge", retain, geometry))
