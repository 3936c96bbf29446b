"""Keep the patches that together stand for all the others, weighted by what [CLS] attends to.

SCOPE, arXiv 2510.24214 (NeurIPS 2025); released as kinredon/SCOPE, scope/clip_encoder.py. Patches are chosen one by
one: the next is the one whose gain in coverage (how much nearer every patch comes to a chosen one, by cosine), times
its attention to the power `alpha`, is largest. Nothing is merged, [CLS] is dropped, the LLM is left as it is.

The released code has nothing to mend, so there is no `published` setting; it computes in the model's own precision,
here all is float32. The choice is a loop of `num_token` steps, over all images at once (docs/methods.md has its cost).
An encoder without [CLS] (SigLIP) weights patches by the attention they receive.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.errors import InputError, shown
from llava.reduction.base import Evidence
from llava.reduction.checks import checked_number
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.rules.basics import ascending
from llava.reduction.rules.coverage import scope_order
from llava.reduction.scoring import summed_over_heads
from llava.reduction.selection import Selection
from llava.reduction.stages import at_most, patch_scores
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class Scope(Viewwise):
    """Greedy coverage weighted by [CLS], once, in the encoder."""

    num_token: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 64"})
    alpha: float = field(default=1.0, metadata={"help": "power of the attention that weights coverage; released: 1"})
    combined: str = field(
        default="multi", metadata={"help": "multi: gain times attention, as released; add: gain plus attention"}
    )
    count_setting: ClassVar[str] = "num_token"
    paper: ClassVar[PaperSettings] = counted("num_token")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", checked_number("alpha", self.alpha, 0))
        if self.combined not in ("multi", "add"):
            raise InputError(f"combined must be multi or add: got {shown(self.combined)}; leave it out for multi")

    def at_encoder(self, evidence: Evidence) -> Selection:
        # Heads are added up, as released: with "add" their number counts.
        scores = summed_over_heads(evidence.attention_from_cls()) if evidence.has_cls else patch_scores(evidence)
        counts = at_most(evidence, self.num_token)
        order = scope_order(evidence.values, scores, counts, evidence.valid, self.alpha, self.combined)
        return Selection(ascending(order), counts, scores.masked_fill(~evidence.valid, -torch.inf))
