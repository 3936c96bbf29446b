"""Keep the patches that together cover the words of the question and the picture itself.

MMTok, arXiv 2508.18264 (ICLR 2026); released as Ironieser/MMTok, semantic_selector.py. What is to be covered: each word
of the question, by the softmax over patches of its cosine with the projected ones, and each patch, by that with the
patches before the projector, weighted `alpha`. The next patch is the one that adds most (`rules/coverage.py`).

The words are the LLM's own embeddings of the user's last turn. The choice reads the question before the LLM, so that
nothing of an image can be shared between questions. The released code has nothing to mend, so there is no `published`
setting; its function's default of `word_temperature` is 0.01, but the released LLaVA passes 0.02, the default here.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from llava.errors import InputError
from llava.reduction.checks import checked_number
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.rules.basics import ascending
from llava.reduction.rules.coverage import mmtok_order
from llava.reduction.selection import Selection
from llava.reduction.stages import order_scores
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class MMTok(Viewwise):
    """Greedy coverage of question and picture."""

    visual_token_num: int = field(metadata={"help": "patches entering the LLM, of each view, e.g. 64"})
    alpha: float = field(default=0.5, metadata={"help": "weight of covering the picture; released: 0.5"})
    word_temperature: float = field(default=0.02, metadata={"help": "of the softmax over patches of a word"})
    patch_temperature: float = field(default=0.2, metadata={"help": "of the softmax over patches of a patch"})
    reads_question: ClassVar[bool] = True
    question_at_encoder: ClassVar[bool] = True
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "view"
    paper: ClassVar[PaperSettings] = counted("visual_token_num")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", checked_number("alpha", self.alpha, 0))
        for name in ("word_temperature", "patch_temperature"):
            object.__setattr__(self, name, checked_number(name, getattr(self, name), 0))
            if getattr(self, name) < 1e-4:
                raise InputError(f"{name} must be at least 0.0001: got {getattr(self, name):g}; raise it")

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        words, real = evidence.encoder.words()
        counts = tuple(min(self.visual_token_num, length) for length in evidence.lengths)
        order = mmtok_order(
            words,
            evidence.values,
            evidence.encoder.values,
            counts,
            evidence.valid,
            real,
            self.alpha,
            self.word_temperature,
            self.patch_temperature,
        )
        return Selection(ascending(order), counts, order_scores(order, counts, evidence.valid))
