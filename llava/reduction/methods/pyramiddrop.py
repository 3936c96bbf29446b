"""Drop image tokens inside the LLM by what the last prompt token attends to, a share of them at each listed layer.

PyramidDrop, arXiv 2410.17247 (CVPR 2025). Nothing is merged. The ranking reads the question, so an image's work inside
the LLM cannot be shared between questions. `int(N * ratio)` of the image's original N tokens stay, as in its code, and
one at least, where its code would be left with none. `ranking` visual has image tokens rank, as in VisionDrop; then no
question is read.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from llava.errors import InputError
from llava.reduction.base import Evidence, Geometry, Reduction
from llava.reduction.budgets import too_shallow
from llava.reduction.checks import check_falling, checked_layers, checked_ratios
from llava.reduction.paper import PaperSettings
from llava.reduction.positions import position_policy
from llava.reduction.ranking import ranked_by, ranking_setting, reads_by
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top


@dataclass(frozen=True)
class PyramidDrop(Reduction):
    """Last-token ranking in progressive stages; the defaults are the official ones, for 32 layers."""

    layer_list: list[int] = field(
        default_factory=lambda: [8, 16, 24],
        metadata={"help": "LLM layers after which tokens are dropped, e.g. [8,16,24]"},
    )
    image_token_ratio_list: list[float] = field(
        default_factory=lambda: [0.5, 0.25, 0.125],
        metadata={"help": "share of the image's original tokens kept at each of those layers, e.g. [0.5,0.25,0.125]"},
    )
    positions: str = position_policy("renumber")
    ranking: str = ranking_setting("text")
    reads_question: ClassVar[bool] = True
    paper: ClassVar[PaperSettings] = {
        budget: {"layer_list": [2, 8, 16], "image_token_ratio_list": [share, share**2, share**3]}
        for budget, share in ((192, 0.56), (128, 0.421), (64, 0.193))
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer_list", checked_layers(self.layer_list))
        object.__setattr__(self, "image_token_ratio_list", checked_ratios(self.image_token_ratio_list))
        if len(self.layer_list) != len(self.image_token_ratio_list):
            raise InputError(
                f"image_token_ratio_list needs one ratio per listed layer: got {len(self.image_token_ratio_list)}, "
                f"expected {len(self.layer_list)}"
            )
        reads_by(self)

    def at_layer(self, stage: int, evidence: Evidence) -> Selection:
        ratio = self.image_token_ratio_list[stage]
        counts = tuple(max(1, int(length * ratio)) for length in evidence.initial_lengths)
        return keep_top(evidence, ranked_by(self.ranking, evidence), counts)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        whole = geometry.most_tokens
        return [whole, *(max(1, int(whole * ratio)) for ratio in self.image_token_ratio_list)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        whole = geometry.most_tokens  # a smaller image may come to the end of what can be dropped: one token stays
        check_falling("image_token_ratio_list", [whole, *(int(whole * ratio) for ratio in self.image_token_ratio_list)])

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """Three drops at equal steps, each to the same share r of the one before, averaging `retain`.

        Not in the paper, which names no schedule for small budgets. The step is a quarter of the depth where that
        leaves r > 0 and shorter for small budgets, since the layers before the first drop carry every token.
        """
        if geometry.layers < 4:
            raise too_shallow("pyramiddrop", geometry)
        share = retain / geometry.most_tokens
        step = max(1, min(geometry.layers // 4, int(0.6 * share * geometry.layers)))
        first, last = step / geometry.layers, 1 - 3 * step / geometry.layers
        if not first < share < 1 or last <= 0:
            raise InputError(
                f"--retain of pyramiddrop must lie between what one layer of all tokens costs and all of them: got "
                f"{retain}, expected more than {geometry.most_tokens / geometry.layers:.0f} and less than "
                f"{geometry.most_tokens}; choose another budget or give the two lists"
            )
        low, high = 0.0, 1.0
        for _ in range(60):  # bisection: the average rises with r
            ratio = (low + high) / 2
            average = first * (1 + ratio + ratio**2) + last * ratio**3
            low, high = (ratio, high) if average < share else (low, ratio)
        return cls([step, 2 * step, 3 * step], [round(ratio**stage, 4) for stage in (1, 2, 3)])
