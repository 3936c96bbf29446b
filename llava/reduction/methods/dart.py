"""After a few LLM layers keep image tokens that are least like a few pivots: what is said twice goes.

DART, arXiv 2502.11494 (EMNLP 2025); released as ZichenWen1/DART (complete in Chenfei-Liao/VTC-Bench). The pivots are
the image tokens and the tokens after the image whose keys in the layer that has run are largest; each in turn takes the
image tokens least like it. The pivots among the text make the choice depend on the question. Survivors keep their
positions.

The released code keeps more than it says (132 of 128: the share of each pivot is rounded, and the image's pivots come
on top) and lets pivots take turns in the order of a Python set. With `published` it is so; the default keeps exactly
`max_num_trunction` tokens, and image pivots go before text pivots, by falling norm.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch

from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import kept_after, scaled_layers
from llava.reduction.checks import checked_number, positive, switch, whole_number
from llava.reduction.layer_evidence import LayerEvidence
from llava.reduction.paper import PaperSettings, counted
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.published import published_setting
from llava.reduction.rules.dart import dart_kept, even_shares, taken_per_pivot
from llava.reduction.selection import Selection, membership
from llava.reduction.stages import own_counts


@dataclass(frozen=True)
class Dart(Reduction):
    """Least like the pivots, once."""

    pruned_layer: int = field(default=2, metadata={"help": "LLM layers that see every image token; released: 2"})
    max_num_trunction: int = field(
        default=0, metadata={"help": "image tokens kept of the largest image, e.g. 128; 0: the ratio says it"}
    )
    reduction_ratio: float = field(
        default=0.778,
        metadata={"help": "share of an image's tokens that goes, where no count is given"},
    )
    pivot_image_token: int = field(default=4, metadata={"help": "pivots among the image tokens; released: 4"})
    pivot_text_token: int = field(default=4, metadata={"help": "pivots among the tokens after the image; released: 4"})
    published: bool = published_setting("turns in a Python set's order, and the counts, as released")
    positions: str = position_policy(KEEP)
    reads_question: ClassVar[bool] = True
    layer_setting: ClassVar[str] = "pruned_layer"
    paper: ClassVar[PaperSettings] = counted("max_num_trunction", least=64, published=True)

    def __post_init__(self) -> None:
        # The released scripts pass None for the one that does not count.
        for name, unset in (("max_num_trunction", 0), ("reduction_ratio", 0.778)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, unset)
        positive("pruned_layer", self.pruned_layer)
        whole_number("max_num_trunction", self.max_num_trunction)
        object.__setattr__(self, "reduction_ratio", checked_number("reduction_ratio", self.reduction_ratio, 0, 1))
        positive("pivot_image_token", self.pivot_image_token)
        whole_number("pivot_text_token", self.pivot_text_token)
        switch("published", self.published)

    @property
    def layers(self) -> list[int]:
        return [self.pruned_layer]

    def at_layer(self, stage: int, evidence: LayerEvidence) -> Selection:
        ran = evidence.ran
        text_norms = ran.text_keys_by_head().abs().sum(dim=(1, 3))
        norms = ran.keys_by_head().abs().sum(dim=(1, 3))
        budgets: tuple[float, ...] = tuple(n * (1 - self.reduction_ratio) for n in evidence.initial_lengths)
        if self.max_num_trunction:
            budgets = own_counts(evidence, self.max_num_trunction)
        if self.published:
            pivots: tuple[int, ...] = (self.pivot_image_token,) * len(budgets)
        else:
            pivots = tuple(min(self.pivot_image_token, max(1, int(budget))) for budget in budgets)
        shares = []
        for budget, most, n, t in zip(budgets, pivots, evidence.lengths, evidence.text_lengths):
            own = min(most, n)
            turns = own + min(self.pivot_text_token, t)
            each = taken_per_pivot(budget, self.pivot_image_token + self.pivot_text_token)
            shares.append((each,) * turns if self.published else even_shares(max(1, int(budget)), own, max(1, turns)))
        kept, counts = dart_kept(
            evidence.through_last_norm(evidence.values),
            evidence.through_last_norm(evidence.text_values),
            norms,
            text_norms,
            evidence.lengths,
            evidence.text_lengths,
            tuple(shares),
            evidence.starts if self.published else None,
            pivots,
            self.pivot_text_token,
        )
        return Selection(kept, counts, _chosen_or_norm(norms, kept, evidence.valid))

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        whole = geometry.most_tokens
        budget = self.max_num_trunction or whole * (1 - self.reduction_ratio)
        kept = max(1, int(budget))
        if self.published:
            pivots = self.pivot_image_token + self.pivot_text_token
            kept = self.pivot_image_token + pivots * taken_per_pivot(budget, pivots)
        return [whole, min(whole, kept)]

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """What the layers after the second of 32 (or as early in another depth) may have for an average of `retain`."""
        [layer] = scaled_layers((2,), geometry)
        return cls(pruned_layer=layer, max_num_trunction=kept_after("dart", retain, geometry, layer))


def _chosen_or_norm(norms: torch.Tensor, kept: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """(I, n) float32, no ranking, since there is none: the norm of a token's keys, below zero where it went."""
    scores = torch.where(membership(kept, norms.shape[1]), norms, norms - norms.amax(dim=1, keepdim=True) - 1)
    return scores.masked_fill(~valid, -torch.inf)
