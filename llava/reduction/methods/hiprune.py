"""Keep what a middle encoder layer looks at, with its neighbours, and fill up by what a late layer looks at.

HiPrune, arXiv 2508.00553 (AAAI 2026); released as Danielement321/HiPrune, LLaVA/llava/model/llava_arch.py. A patch's
score is the attention it receives, mean over heads and over all queries, [CLS] among them; the middle layer is the
ninth of 24 (`object_layer`, from 1), the late one that whose output LLaVA uses (`rules/hiprune.py`). Nothing is merged.

The released code has nothing that must be mended, so there is no `published` setting: that neighbours at a row's end
lie in the next row is kept. On LLaVA-NeXT it divides the budget by the views; here the setting is of each view.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from llava.reduction.base import Geometry
from llava.reduction.checks import check_room, checked_number, positive
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.rules.hiprune import hiprune_kept
from llava.reduction.selection import Selection
from llava.reduction.stages import row_width
from llava.reduction.viewwise import Viewwise

PUBLISHED_LAYER, PUBLISHED_DEPTH = 9, 24


@dataclass(frozen=True)
class HiPrune(Viewwise):
    """Anchors of a middle layer, their neighbours, and the best of a late layer."""

    retention: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 64"})
    alpha: float = field(default=0.1, metadata={"help": "share of them for anchors with neighbours; released: 0.1"})
    object_layer: int = field(
        default=PUBLISHED_LAYER, metadata={"help": "the middle layer of the encoder, from 1; released: 9"}
    )
    count_setting: ClassVar[str] = "retention"
    paper: ClassVar[PaperSettings] = counted("retention")

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("object_layer", self.object_layer)
        object.__setattr__(self, "alpha", checked_number("alpha", self.alpha, 0, 1))

    @property
    def encoder_layers(self) -> tuple[int, ...]:
        return (self.object_layer - 1,)

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        late = evidence.received_from_all()
        middle = evidence.layer(self.object_layer - 1).received_from_all()
        count = min(self.retention, evidence.lengths[0])
        kept, _ = hiprune_kept(middle, late, count, row_width(evidence), self.alpha)
        return Selection(kept, (count,) * len(kept), late)

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_room("object_layer", "hiprune", geometry, self.object_layer)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """`retain` patches, shared out evenly among the views; the middle layer at the published share of the depth."""
        layer = max(1, round(PUBLISHED_LAYER * geometry.encoder_layers / PUBLISHED_DEPTH))
        return replace(super().from_budget(retain, geometry), object_layer=layer)
