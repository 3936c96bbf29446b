"""Sort patches into groups by their principal directions, and thin out each group.

PruneSID, arXiv 2603.09480 (ICLR 2026); released as ZhengyaoFang/PruneSID, prunesid_llava/clip_encoder.py. A patch
belongs to the direction it weighs most in; within a group a patch is redundant that resembles one [CLS] attends to more
(`rules/prunesid.py`). [CLS] goes first, then group after group: the order is not the picture's. Nothing is merged.

The directions come from a randomised decomposition whose start the released code does not seed, so that no two of its
runs agree: `published` draws it anew each time. By default `seed` says the start, the same for every image. On an
encoder without [CLS] (SigLIP) patches are ranked by what they receive, and one more takes the place of [CLS].
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from llava.errors import InputError
from llava.reduction.checks import integer, switch
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.published import published_setting
from llava.reduction.rules.prunesid import component_groups, groups_of, prunesid_order
from llava.reduction.scoring import summed_over_heads
from llava.reduction.selection import VIEWS, Selection
from llava.reduction.stages import patch_scores
from llava.reduction.viewwise import Viewwise


@dataclass(frozen=True)
class PruneSID(Viewwise):
    """Groups by principal directions, the best of each that are not alike."""

    visual_token_num: int = field(metadata={"help": "tokens leaving the vision encoder, of each view, [CLS] included"})
    seed: int = field(default=0, metadata={"help": "another seed finds other groups", "shared": True})
    published: bool = published_setting("a new random start at every call, as released")
    least: ClassVar[int] = 2  # [CLS] and a patch
    waits: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = counted("visual_token_num")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.visual_token_num < 2:
            raise InputError("visual_token_num of prunesid must be at least 2, [CLS] and a patch: got 1; raise it")
        integer("seed", self.seed)
        switch("published", self.published)

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        scores = summed_over_heads(evidence.attention_from_cls()) if evidence.has_cls else patch_scores(evidence)
        # The order is of one fewer than it is asked for, [CLS] being the other.
        count = min(self.visual_token_num, evidence.lengths[0] + 1) + int(not evidence.has_cls)
        seed = int(torch.randint(2**31, ())) if self.published else self.seed % 2**63
        groups = component_groups(evidence.values, min(groups_of(count), *evidence.values.shape[1:]), seed)
        order = prunesid_order(evidence.values, scores, groups, count)
        counts = (order.shape[1],) * len(order)
        return Selection(order, counts, scores, keeps_cls=evidence.has_cls, arrangement=VIEWS)
