"""Keep the patches that CLIP finds least like the question, and the mean of all others as one token.

TRIM, arXiv 2409.10994 (COLING 2025); released as FreedomIntelligence/TRIM, multimodal_encoder/clip_encoder.py. A
patch's score is the softmax over patches of minus the product of CLIP's two projections, not normalised; the text is
the whole question, cut off at what CLIP's text tower takes (`rules/trim.py`). With `k` at -1, the released default, as
many stay as stand out among the picture's scores, which only the picture says; otherwise the share `k`.

The choice reads the question before the LLM, so that nothing of an image can be shared between questions. It needs
CLIP's text tower and projections in the vision tower's folder. The released code has nothing to mend, so there is no
`published` setting.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import check_cls, checked_number
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.merging import summary
from llava.reduction.paper import PaperSettings, shared_out
from llava.reduction.published import text_setting
from llava.reduction.rules.trim import mean_of_others, trim_kept, trim_scores
from llava.reduction.schedule import per_view_beside_one
from llava.reduction.selection import VIEWS, Selection

ADAPTIVE = -1.0


@dataclass(frozen=True)
class Trim(Reduction):
    """Patches by CLIP's own opinion of the question, and one token for the rest."""

    k: float = field(default=ADAPTIVE, metadata={"help": "share of the patches kept, or -1: those that stand out"})
    text: str | None = text_setting("the question")
    reads_question: ClassVar[bool] = True
    question_at_encoder: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = shared_out("k", beside=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", checked_number("k", self.k, ADAPTIVE, 1))
        if ADAPTIVE < self.k <= 0:
            raise InputError(f"k must be a share above 0, or -1: got {self.k:g}; leave it out for -1")
        if self.text is not None and not isinstance(self.text, str):
            raise InputError(f"text must be a text: got {shown(self.text)}; leave it out for the question's own")

    @property
    def varies(self) -> bool:
        return self.k == ADAPTIVE

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        texts = [self.text] * len(evidence.lengths) if self.text is not None else evidence.questions()
        embeds, _ = evidence.text_embeds(texts, pieces=False)
        scores = trim_scores(evidence.image_embeds(), embeds[:, 0])
        kept, counts = trim_kept(scores, None if self.k == ADAPTIVE else self.k)
        rest = summary(mean_of_others(evidence.values, kept), kept, scores.shape[1])
        return Selection(kept, counts, scores, rest, arrangement=VIEWS)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        """With `k` at -1 the most there can be; how many there are, only picture and question say."""
        kept = geometry.patches if self.varies else int(geometry.patches * self.k)
        return [geometry.views * (kept + 1)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_cls("trim", geometry)
        if self.k != ADAPTIVE and geometry.patches and int(geometry.patches * self.k) < 1:
            raise InputError(f"k must leave at least one patch: got {self.k:g} of {geometry.patches}; raise it")

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """A fixed share: of each view one patch fewer than its part of `retain`, and the mean of the others."""
        return cls(k=per_view_beside_one("trim", retain, geometry))
