"""Keep the patches that [CLS] attends to and, of the others, those that resemble no other patch.

VisPruner, arXiv 2412.01818v2 (ICCV 2025); released as Theia-4869/VisPruner, llava/model/llava_arch.py. One share of the
budget goes to important patches, the other to diverse ones, found by rounds of pairing in the vision encoder
(`rules/vispruner.py`); nothing is merged, [CLS] is dropped.

Where the list of others has an odd length (as for 50 tokens of 576), the released code ends in an IndexError; of equal
scores it leaves the order to the processor. The default pairs the odd one as well and puts the earlier of equals first.
With `published` such counts are refused and equals are left to torch's sort; where there are neither, both are the
same. The rule is numerically fragile: rounding may change a choice on most images. An encoder without [CLS] (SigLIP)
ranks patches by the attention they receive. Rows of a LLaVA-NeXT image keep their newline tokens on top of the
patches, as released.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.errors import InputError
from llava.reduction.base import Evidence, Geometry
from llava.reduction.checks import checked_number, switch
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.published import published_setting
from llava.reduction.rules.vispruner import important_and_diverse, odd_list
from llava.reduction.selection import NEWLINES, Selection
from llava.reduction.stages import at_most, patch_scores
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class VisPruner(Viewwise):
    """Important patches and diverse ones, once, in the encoder."""

    visual_token_num: int = field(metadata={"help": "patches leaving the vision encoder, of each view, e.g. 64"})
    important_ratio: float = field(
        default=0.5, metadata={"help": "share of them chosen by attention, the rest by diversity; released: 0.5"}
    )
    published: bool = published_setting("refuse what the released code cannot do, else as released")
    keeps_newlines: ClassVar[bool] = True
    fragile: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = counted("visual_token_num", published=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "important_ratio", checked_number("important_ratio", self.important_ratio, 0, 1))
        switch("published", self.published)

    def at_encoder(self, evidence: Evidence) -> Selection:
        scores, counts = patch_scores(evidence), at_most(evidence, self.visual_token_num)
        important = tuple(int(count * self.important_ratio) for count in counts)
        diverse = tuple(count - first for count, first in zip(counts, important))
        kept = important_and_diverse(evidence.values, scores, important, diverse, evidence.lengths, self.published)
        return Selection(kept, counts, scores.masked_fill(~evidence.valid, -torch.inf), arrangement=NEWLINES)

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        important = int(self.visual_token_num * self.important_ratio)
        odd = odd_list(geometry.patches - important, self.visual_token_num - important)
        if self.published and odd is not None:
            raise InputError(
                f"vispruner as published must pair an even number of patches: got {odd} after {important} important "
                f"ones of {geometry.patches}, where the released code ends in an IndexError; change visual_token_num "
                f"or important_ratio, or leave published out"
            )
