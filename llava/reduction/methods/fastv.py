"""After a few LLM layers keep the image tokens that the last prompt token has just attended to, and drop the others.

FastV, arXiv 2403.06764 (ECCV 2024); released as pkunlp-icler/FastV. The ranking is the attention of the layer that has
run, mean over heads, and reads the question. The paper's text speaks of attention received from all tokens; the code
takes the last prompt token's only, and so does this. Survivors keep their positions.

Three forms of it are in the repository, and all three are here as `mode`. `kvcache` (lmms-eval's file and the fork for
transformers; the default): tokens are dropped once, in the prompt; later layers cache what is left. `inplace` (the
script that measures latency): the same without any cache, so that every new token runs the whole prompt again and
chooses anew. `mask` (the paper's ablation): nothing is removed, later layers do not look at what was not chosen, and
every new token chooses anew; it saves nothing. The official scripts let the image begin one token too late (36 for 35);
`fast_v_sys_length` does that on purpose, by default the image is where it is.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from llava.errors import InputError
from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import kept_after, scaled_layers
from llava.reduction.checks import checked_number, positive, whole_number
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.paper import PaperSettings
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.rules.late import fastv_scores
from llava.reduction.selection import Selection
from llava.reduction.stages import keep_top, own_counts


@dataclass(frozen=True)
class FastV(Reduction):
    """Last-token ranking by the layer that has run, once."""

    fast_v_agg_layer: int = field(
        default=2, metadata={"help": "LLM layers that see every image token; the last of them ranks; released: 2 or 3"}
    )
    fast_v_attention_rank: int = field(
        default=0, metadata={"help": "image tokens kept of the largest image, e.g. 144; 0: the share says it"}
    )
    ratio_kept: float = field(default=0.5, metadata={"help": "share of an image's tokens kept where no count is given"})
    mode: str = field(
        default="kvcache",
        metadata={
            "help": "kvcache: drop once; inplace: no cache, choose at every token; mask: only look away",
            "choices": ("kvcache", "inplace", "mask"),
        },
    )
    fast_v_sys_length: int = field(
        default=0, metadata={"help": "the token at which the image is taken to begin; 0: where it does"}
    )
    positions: str = position_policy(KEEP)
    reads_question: ClassVar[bool] = True
    layer_setting: ClassVar[str] = "fast_v_agg_layer"
    paper: ClassVar[PaperSettings] = {
        budget: {"fast_v_agg_layer": 2, "fast_v_attention_rank": kept}
        for budget, kept in ((192, 166), (128, 98), (64, 30))
    }

    def __post_init__(self) -> None:
        positive("fast_v_agg_layer", self.fast_v_agg_layer)
        whole_number("fast_v_attention_rank", self.fast_v_attention_rank)
        whole_number("fast_v_sys_length", self.fast_v_sys_length)
        object.__setattr__(self, "ratio_kept", checked_number("ratio_kept", self.ratio_kept, 0, 1))
        if self.mode == "mask" and self.positions != KEEP:
            raise InputError(
                f"positions of fastv's mode mask must be keep, since nothing is removed: got {self.positions}; leave "
                f"it out, or choose another mode"
            )

    @property
    def layers(self) -> list[int]:
        return [self.fast_v_agg_layer]

    @property
    def masks(self) -> bool:
        return self.mode == "mask"

    @property
    def recomputes(self) -> bool:
        return self.mode == "inplace"

    @property
    def image_start(self) -> int | None:
        return self.fast_v_sys_length or None

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        if self.fast_v_attention_rank:
            counts = own_counts(evidence, self.fast_v_attention_rank)
        else:
            counts = tuple(max(1, int(length * self.ratio_kept)) for length in evidence.initial_lengths)
        counts = tuple(map(min, counts, evidence.lengths))
        return keep_top(evidence, fastv_scores(evidence.ran.attention_from_last()), counts)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        whole = geometry.most_tokens
        kept = self.fast_v_attention_rank or max(1, int(whole * self.ratio_kept))
        return [whole, whole if self.masks else min(kept, whole)]

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """What the layers after the second of 32 (or as early in another depth) may have for an average of `retain`."""
        [layer] = scaled_layers((2,), geometry)
        return cls(fast_v_agg_layer=layer, fast_v_attention_rank=kept_after("fastv", retain, geometry, layer))
