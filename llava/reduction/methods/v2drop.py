"""Keep the image tokens that the last LLM layer has moved most, a share of them at each of three layers.

V2Drop, arXiv 2509.01552 (CVPR 2026); released as xuyang-liu16/V2Drop, language_model/V2Drop.py. A token's score is the
distance between what enters a layer and what entered the one before. Image tokens stand before the question, so no
choice depends on it, and an image's whole work is shared between its questions. Survivors keep their positions.

The paper prunes all tokens at the last layer; the released code leaves one (`least`, 1). Its constants are the shares
0.5, 0.5 and 0 of what is left; the paper's budgets of 192, 128 and 64 tokens are (0.5, 0.3, 0), (0.28, 0.25, 0) and
(0.05, 0.05, 0), read per stage, which gives averages of 193.8, 131.0 and 66.7. The code lets the image have 576 tokens
from the 35th on; here it is where it is.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from llava.errors import InputError
from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import impossible, scaled_layers, solved, too_shallow
from llava.reduction.checks import checked_layers, checked_number, whole_number
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.paper import PaperSettings
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.rules.late import v2drop_kept, v2drop_scores
from llava.reduction.schedule import average_tokens
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top


@dataclass(frozen=True)
class V2Drop(Reduction):
    """Ranking by how far a layer moves a token, in progressive stages."""

    layer_list: list[int] = field(
        default_factory=lambda: [3, 17, 22],
        metadata={"help": "LLM layers after which tokens are dropped, e.g. [3,17,22]"},
    )
    keep_ratio_list: list[float] = field(
        default_factory=lambda: [0.5, 0.5, 0.0],
        metadata={"help": "share of what is left that stays at each of those layers, e.g. [0.5,0.3,0.0]"},
    )
    least: int = field(default=1, metadata={"help": "tokens that stay at the least: 1 as released, 0 as in the paper"})
    positions: str = position_policy(KEEP)
    paper: ClassVar[PaperSettings] = {
        192: {"keep_ratio_list": [0.5, 0.3, 0.0]},
        128: {"keep_ratio_list": [0.28, 0.25, 0.0]},
        64: {"keep_ratio_list": [0.05, 0.05, 0.0]},
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer_list", checked_layers(self.layer_list))
        ratios = self.keep_ratio_list
        if not isinstance(ratios, (list, tuple)) or len(ratios) != len(self.layer_list):
            raise InputError(
                f"keep_ratio_list needs one share per listed layer: got {ratios!r}, expected {len(self.layer_list)}; "
                f"write it like [0.5,0.5,0.0]"
            )
        checked = [checked_number("each of keep_ratio_list", ratio, 0, 1) for ratio in ratios]
        object.__setattr__(self, "keep_ratio_list", checked)
        whole_number("least", self.least)

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        ratio = self.keep_ratio_list[stage]
        counts = tuple(v2drop_kept(length, ratio, self.least) for length in evidence.lengths)
        return keep_top(evidence, v2drop_scores(evidence.values, evidence.ran.values), counts)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        counts = [geometry.most_tokens]
        for ratio in self.keep_ratio_list:
            counts.append(v2drop_kept(counts[-1], ratio, self.least))
        return counts

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> "V2Drop":
        """The released layers and no share at the last; one share at the two before, for an average of `retain`."""
        layers, steps = scaled_layers((3, 17, 22), geometry), 10000

        def at(share: int) -> "V2Drop":
            return cls(layer_list=layers, keep_ratio_list=[share / steps, share / steps, 0.0])

        if layers[-1] >= geometry.layers:
            raise too_shallow("v2drop", geometry)
        low, high = average_tokens(at(0), geometry), average_tokens(at(steps), geometry)
        if not low <= retain <= high:
            raise impossible("v2drop", retain, low, high)
        return at(solved(retain, lambda share: average_tokens(at(share), geometry), steps))
