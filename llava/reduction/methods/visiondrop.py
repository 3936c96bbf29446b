"""Rank visual tokens by how visual tokens attend to them, in the encoder and again inside the LLM.

VisionDrop, arXiv 2506.22283 (AAAI 2026). Text never takes part in a choice, so all work up to the last image token is
the same for every question about an image. Each stage keeps the best tokens and folds the others into a few.
The counts follow the official implementation, which differs from the paper in that the encoder's `dominant` includes
[CLS] and that a contextual token is target plus mean, not an average.

For ablations: `contextual` may be 0 at any stage, which then only drops; an empty `layer_list` leaves the encoder's
stage alone, and `dominant` 0 with `contextual` 0 the LLM's stages; `ranking` text has the last prompt token rank inside
the LLM, as in PyramidDrop, and reads the question.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Self

from llava.errors import InputError
from llava.reduction.base import Evidence, Geometry, Reduction
from llava.reduction.budgets import too_shallow
from llava.reduction.checks import (
    check_encoder_counts,
    check_encoder_pair,
    check_falling,
    checked_layers,
    checked_pairs,
)
from llava.reduction.paper import BUDGETS, PaperSettings
from llava.reduction.positions import position_policy
from llava.reduction.ranking import ranked_by, ranking_setting, reads_by
from llava.reduction.selection import Selection
from llava.reduction.stages import encoder_stage, keep_and_merge, own_pairs

# The paper's schedule for an average of 32 tokens; other budgets scale it (the published 64, 128 and 192 do).
PAPER_BUDGET = 32
PAPER_ENCODER = (42, 6)
PAPER_PAIRS = ((30, 5), (22, 4), (16, 3))
# What the encoder keeps of a picture and, by the paper, of a video, as a multiple of the budget.
OF_A_PICTURE, OF_A_VIDEO = Fraction(3, 2), Fraction(3)


def paper_settings(budget: int) -> dict[str, Any]:
    """The paper's schedules: those for 64, 128 and 192 tokens are that for 32, scaled."""
    dominant, contextual = (count * budget // PAPER_BUDGET for count in PAPER_ENCODER)
    pairs = [[count * budget // PAPER_BUDGET for count in pair] for pair in PAPER_PAIRS]
    settings = {"dominant": dominant, "contextual": contextual}
    return settings | {"layer_list": [8, 16, 24], "image_token_list": pairs}


@dataclass(frozen=True)
class VisionDrop(Reduction):
    """Visual-only ranking in progressive stages."""

    dominant: int = field(metadata={"help": "dominant tokens leaving the vision encoder, [CLS] included, e.g. 42"})
    contextual: int = field(metadata={"help": "contextual tokens leaving the vision encoder, e.g. 6"})
    layer_list: list[int] = field(metadata={"help": "LLM layers after which tokens are dropped, e.g. [8,16,24]"})
    image_token_list: list[list[int]] = field(
        metadata={"help": "[dominant,contextual] kept at each of those layers, e.g. [[30,5],[22,4],[16,3]]"}
    )

    positions: str = position_policy("renumber")
    ranking: str = ranking_setting("visual")
    usual_budget: ClassVar[int | None] = PAPER_BUDGET
    paper: ClassVar[PaperSettings] = {budget: paper_settings(budget) for budget in BUDGETS}

    def __post_init__(self) -> None:
        check_encoder_pair(self.dominant, self.contextual, may_be_off=True)
        object.__setattr__(self, "layer_list", checked_layers(self.layer_list))
        object.__setattr__(self, "image_token_list", checked_pairs(self.image_token_list))
        if len(self.layer_list) != len(self.image_token_list):
            raise InputError(
                f"image_token_list needs one [dominant, contextual] pair per listed layer: got "
                f"{len(self.image_token_list)} pairs, expected {len(self.layer_list)}"
            )
        reads_by(self)

    def at_encoder(self, evidence: Evidence) -> Selection | None:
        return None if self.dominant == 0 else encoder_stage(evidence, self.dominant, self.contextual)

    def at_layer(self, stage: int, evidence: Evidence) -> Selection:
        scores = ranked_by(self.ranking, evidence)
        return keep_and_merge(evidence, scores, *own_pairs(evidence, *self.image_token_list[stage]))

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        encoder = geometry.views * (self.dominant + self.contextual) or geometry.most_tokens
        return [encoder, *(sum(pair) for pair in self.image_token_list)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_encoder_counts(self.dominant, self.contextual, geometry)
        check_falling("image_token_list", self.tokens_per_stage(geometry))

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The paper's schedule scaled to `retain`, at a quarter, half and three quarters of the depth.

        The encoder keeps 1.5 x `retain`, 3 x of a video (but no more than the LLM would get of it unreduced), shared
        out evenly among the views of a LLaVA-NeXT image or the frames. The paper does not say what the stages inside
        the LLM keep of a video: here as much less as holds the average, in a picture's proportions.
        """
        layers = [round(geometry.layers * quarter / 4) for quarter in (1, 2, 3)]
        if not 0 < layers[0] < layers[1] < layers[2] < geometry.layers:
            raise too_shallow("visiondrop", geometry)
        share = min(OF_A_VIDEO, Fraction(geometry.most_tokens, max(1, retain))) if geometry.frames else OF_A_PICTURE
        encoder, stages = share / OF_A_PICTURE, (4 - share) / (4 - OF_A_PICTURE)

        def scaled(count: int, part: Fraction) -> int:
            return max(1, round(count * retain * part / PAPER_BUDGET))

        pairs = [[scaled(dominant, stages), scaled(contextual, stages)] for dominant, contextual in PAPER_PAIRS]
        totals = [sum(pair) for pair in pairs]
        if sorted(set(totals), reverse=True) != totals:
            raise InputError(
                f"--retain of visiondrop must leave fewer tokens at each stage: got {retain}, which gives "
                f"{', '.join(map(str, totals))}; raise it"
            )
        if geometry.frames and totals[0] >= share * retain:
            raise InputError(
                f"--retain of visiondrop must stay well below the tokens of the whole video: got {retain} of "
                f"{geometry.most_tokens}; lower it"
            )
        return cls(
            dominant=scaled(PAPER_ENCODER[0], encoder / geometry.views),
            contextual=scaled(PAPER_ENCODER[1], encoder / geometry.views),
            layer_list=layers,
            image_token_list=pairs,
        )
