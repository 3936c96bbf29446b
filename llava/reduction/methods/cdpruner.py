"""Keep patches that the question wants and that differ from each other.

CDPruner, arXiv 2506.10967 (NeurIPS 2025); released as Theia-4869/CDPruner, llava/model/llava_arch.py. Patches are
chosen greedily by what each adds to the determinant of a kernel: cosine of projected tokens, times the relevance of
both. A patch is relevant that CLIP's two projections find *unlike* the question (`rules/cdpruner.py`), as in TRIM. The
question is cut into pieces of as many tokens as CLIP's text tower takes, the last filled up with zeros, as released.

The choice reads the question before the LLM, so that nothing of an image can be shared between questions. It needs
CLIP's text tower and projections in the vision tower's folder. The rank of the kernel is at most the width of the LLM:
beyond it the released code takes roots of negative rounding errors, and it scales relevance over all views of an image
together. `published` does both; by default the most relevant of the others follow, and each view has its own scale.
Rows of a LLaVA-NeXT image keep their newline tokens, as released.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from llava.errors import InputError, shown
from llava.reduction.base import Geometry
from llava.reduction.checks import check_cls, switch
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.published import published_setting, text_setting
from llava.reduction.rules.basics import ascending
from llava.reduction.rules.cdpruner import dpp_order, question_relevance
from llava.reduction.selection import NEWLINES, Selection
from llava.reduction.viewwise import Viewwise

# What the released scripts take off the question before CLIP reads it.
INSTRUCTION = "\nAnswer the question using a single word or phrase."


@dataclass(frozen=True)
class CDPruner(Viewwise):
    """A determinantal point process whose quality is relevance to the question."""

    visual_token_num: int = field(metadata={"help": "patches entering the LLM, of each view, e.g. 64"})
    text: str | None = text_setting("the question without its one-word instruction")
    published: bool = published_setting("as released where the kernel's rank is used up")
    reads_question: ClassVar[bool] = True
    question_at_encoder: ClassVar[bool] = True
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "view"
    keeps_newlines: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = counted("visual_token_num", published=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text is not None and not isinstance(self.text, str):
            raise InputError(f"text must be a text: got {shown(self.text)}; leave it out for the question's own")
        switch("published", self.published)

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        encoder, views = evidence.encoder, len(evidence.lengths)
        asked = [self.text] * views if self.text is not None else encoder.questions()
        texts = [text.replace(INSTRUCTION, "") for text in asked] if self.text is None else asked
        embeds, pieces = encoder.text_embeds(texts, pieces=True)
        groups = encoder.views if self.published else None
        relevance = question_relevance(encoder.image_embeds(), embeds, evidence.valid, pieces, groups)
        counts = tuple(min(self.visual_token_num, length) for length in evidence.lengths)
        order = dpp_order(evidence.values, relevance, counts, evidence.valid, self.published)
        scores = relevance.masked_fill(~evidence.valid, float("-inf"))
        return Selection(ascending(order), counts, scores, arrangement=NEWLINES)

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_cls("cdpruner", geometry)
