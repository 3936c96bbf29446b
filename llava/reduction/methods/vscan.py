"""Keep the best of every window by an early encoder layer and the best of all by a late one; fold the others into them.

VScan, arXiv 2505.22654; released in Tencent/SelfEvolvingAgent, VScan/llava/model. Half of the budget goes to 4 x 4
windows of the picture by [CLS]'s attention in the sixth layer, the other half to the best of all by the layer whose
output LLaVA uses. After the projector every other token joins the kept one it is most like, which becomes the mean of
itself and those (`rules/vscan.py`). Inside the LLM tokens are dropped by what the last prompt token attends to, as in
PyramidDrop, so that this part reads the question.

Where half of the budget is no multiple of 16 the released code keeps fewer than it should (40 of 48): `published` does
too; by default the late layer fills up. A budget of all patches leaves everything as it is, as released.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from llava.errors import InputError, shown
from llava.reduction.base import Evidence, Geometry, Reduction
from llava.reduction.budgets import too_shallow
from llava.reduction.checks import check_falling, check_patches, checked_counts, checked_layers, positive, switch
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.paper import PaperSettings
from llava.reduction.positions import position_policy
from llava.reduction.published import published_setting
from llava.reduction.rules.vscan import WINDOWS_A_SIDE, merge_into_kept, vscan_kept, vscan_kept_of_any_size
from llava.reduction.scoring import mean_received
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top, own_counts, patch_scores

PUBLISHED_LAYER, PUBLISHED_DEPTH = 5, 24


@dataclass(frozen=True)
class VScan(Reduction):
    """Windows and the whole in the encoder, the last prompt token in the LLM."""

    visual_token_num: int = field(metadata={"help": "tokens leaving the projector, of each view, e.g. 96"})
    layer_list: list[int] = field(
        default_factory=list, metadata={"help": "LLM layers after which tokens are dropped, e.g. [16]"}
    )
    image_token_list: list[int] = field(
        default_factory=list, metadata={"help": "tokens of the largest image kept at each of those layers, e.g. [32]"}
    )
    early_layer: int = field(
        default=PUBLISHED_LAYER, metadata={"help": "encoder layer that chooses in windows, from 0; released: 5"}
    )
    published: bool = published_setting("keep fewer where windows do not share out evenly")
    positions: str = position_policy("renumber")
    reads_question: ClassVar[bool] = True
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "view"
    paper: ClassVar[PaperSettings] = {
        budget: {"visual_token_num": first, "layer_list": [16], "image_token_list": [later], "published": True}
        for budget, first, later in ((192, 288, 96), (128, 192, 64), (64, 96, 32))
    }

    def __post_init__(self) -> None:
        positive("visual_token_num", self.visual_token_num)
        positive("early_layer", self.early_layer + 1 if isinstance(self.early_layer, int) else self.early_layer)
        switch("published", self.published)
        object.__setattr__(self, "layer_list", checked_layers(self.layer_list))
        object.__setattr__(self, "image_token_list", checked_counts("image_token_list", self.image_token_list))
        check_falling("image_token_list", self.image_token_list)
        if len(self.layer_list) != len(self.image_token_list):
            raise InputError(
                f"image_token_list needs one count per listed layer: got {len(self.image_token_list)}, expected "
                f"{len(self.layer_list)}"
            )

    @property
    def encoder_layers(self) -> tuple[int, ...]:
        return (self.early_layer,)

    def at_projector(self, evidence: ProjectedEvidence) -> Selection | None:
        patches = evidence.lengths[0]
        if self.visual_token_num >= patches:
            return None
        late, early = patch_scores(evidence.encoder), patch_scores(evidence.encoder.layer(self.early_layer))
        shape = getattr(evidence.encoder, "shape", None)  # rows and columns of pictures of any size
        if shape is None:
            kept = vscan_kept(early, late, self.visual_token_num, round(patches**0.5), self.published)
        else:
            kept = vscan_kept_of_any_size(early, late, self.visual_token_num, shape, self.published)
        counts = (kept.shape[1],) * len(kept)
        built, assignment = merge_into_kept(evidence.values, kept, counts, evidence.valid)
        return Selection(kept, counts, late, values=built, assignment=assignment)

    def at_layer(self, stage: int, evidence: Evidence) -> Selection:
        wanted = own_counts(evidence, self.image_token_list[stage])
        counts = tuple(min(count, length) for count, length in zip(wanted, evidence.lengths))
        # For Qwen it was published without rotation; there alone the evidence has it.
        asked = getattr(evidence, "unrotated", evidence) if self.published else evidence
        return keep_top(evidence, mean_received(asked.attention_from_last()), counts)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        kept, windows = self.visual_token_num, WINDOWS_A_SIDE**2
        if self.published and kept < geometry.patches:
            kept += kept // 2 // windows * windows - kept // 2
        return [geometry.views * kept if kept < geometry.patches else geometry.most_tokens, *self.image_token_list]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_patches("visual_token_num", self.visual_token_num, geometry)
        check_falling("image_token_list", self.tokens_per_stage(geometry))
        if self.early_layer >= geometry.encoder_layers:
            raise InputError(
                f"early_layer must be a layer of the vision encoder: got {self.early_layer}, expected at most "
                f"{geometry.encoder_layers - 1}; lower it"
            )
        if geometry.side % WINDOWS_A_SIDE:
            raise InputError(
                f"vscan needs a picture of {WINDOWS_A_SIDE} x {WINDOWS_A_SIDE} windows: got {geometry.side} patches on "
                f"a side, expected a multiple of {WINDOWS_A_SIDE}; choose another method"
            )

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """As published: 1.5 x `retain` up to half of the LLM's layers, what makes `retain` the average after it."""
        if geometry.layers < 2:
            raise too_shallow("vscan", geometry)
        each = max(1, (3 * retain + 1) // 2 // geometry.views)
        half = max(1, geometry.layers // 2)
        later = max(1, geometry.layers - half)
        left = (2 * (retain * geometry.layers - each * geometry.views * half) + later) // (2 * later)
        if not 1 <= left < each * geometry.views or each > geometry.patches:
            raise InputError(
                f"--retain of vscan must leave tokens at both stages, fewer at the second: got {shown(retain)}, which "
                f"gives {shown(each * geometry.views)} and {shown(left)} of {geometry.most_tokens}; change it"
            )
        early = min(geometry.encoder_layers - 1, round(PUBLISHED_LAYER * geometry.encoder_layers / PUBLISHED_DEPTH))
        return cls(each, [half], [left], early)
