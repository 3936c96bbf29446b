"""Keep the tokens to which most flows over a graph of alike tokens, and leave them the positions they had.

G-Prune, arXiv 2501.02268 (AAAI 2025); released as jytmelon/G-Prune for LLaVA-NeXT alone. After the projector the base
view and the tiles of a picture are ranked apart (`rules/gprune.py`), the same share of each stays, and all newline
tokens do. The others are gone before the first LLM layer, yet what is left keeps its positions, with gaps, and a new
token goes on where the whole prompt would have ended; `positions` renumber counts them 0, 1, 2 instead.

The released code fails on LLaVA-1.5, whose picture is one view: it looks for tiles. The rule does not need them, so
here one view is one graph; nobody has published that. Each frame of a video is a graph too.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch

from llava.errors import InputError, shown
from llava.reduction.base import Geometry, Reduction
from llava.reduction.budgets import solved
from llava.reduction.checks import checked_number, whole_number
from llava.reduction.encoder_evidence import NEWLINE, ProjectedEvidence
from llava.reduction.positions import KEEP, position_policy
from llava.reduction.rules.gprune import graph_scores, graphs_of
from llava.reduction.selection import Selection, select_top

LEAST_TEMPERATURE = 1e-3  # below it every token is alone


@dataclass(frozen=True)
class GPrune(Reduction):
    """A share of each part of a picture, once, before the LLM, at the positions of the whole."""

    keep_ratio: float = field(
        default=0.5, metadata={"help": "share of the tokens of each part that enter the LLM; released: 0.5"}
    )
    similarity: float = field(default=0.5, metadata={"help": "cosine from which two tokens are alike; released: 0.5"})
    temperature: float = field(
        default=0.03, metadata={"help": "of the graph's softmax; released: 0.03", "flag": "graph_temperature"}
    )
    iterate_num: int = field(default=5, metadata={"help": "steps over the graph; released: 5"})
    positions: str = position_policy(KEEP)
    positions_at_entry: ClassVar[bool] = True
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep_ratio", checked_number("keep_ratio", self.keep_ratio, 0, 1))
        object.__setattr__(self, "similarity", checked_number("similarity", self.similarity, -1, 1))
        temperature = checked_number("temperature", self.temperature, LEAST_TEMPERATURE)
        object.__setattr__(self, "temperature", temperature)
        whole_number("iterate_num", self.iterate_num)

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        parts, (images, length) = evidence.parts(), evidence.valid.shape
        device, tokens = evidence.values.device, evidence.values.flatten(0, 1)
        stays = (parts == NEWLINE).flatten()
        counts, stays = stays.view(images, length).sum(dim=1), stays.to(device, non_blocking=True)
        scores = torch.zeros(images * length, device=device)
        for graphs in graphs_of(parts):
            count = kept_of(self.keep_ratio, graphs.shape[1])
            counts.index_add_(0, graphs[:, 0] // length, torch.full((len(graphs),), count))
            graphs = graphs.to(device, non_blocking=True)
            own = graph_scores(tokens[graphs], self.similarity, self.temperature, self.iterate_num)
            best = graphs.gather(1, select_top(own, (count,) * len(graphs)))
            scores[graphs], stays[best] = own, True
        place = torch.arange(length, device=device)
        kept = torch.where(stays.view(images, length), place, length).sort(dim=1).values[:, : int(counts.max())]
        ranked = scores.view(images, length).masked_fill(~evidence.valid, -torch.inf)
        return Selection(kept, tuple(counts.tolist()), ranked)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [_tokens(self.keep_ratio, geometry)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        if geometry.patches and int(self.keep_ratio * geometry.part_sizes[0]) < 1:
            raise InputError(
                f"keep_ratio must leave at least one token: got {self.keep_ratio:g}, which is none of "
                f"{geometry.part_sizes[0]}; raise it"
            )

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The share that leaves `retain` tokens of the largest image, its newlines among them."""
        total, parts, newlines = sum(geometry.part_sizes), len(geometry.part_sizes), geometry.row_ends
        if not newlines + parts <= retain <= newlines + total:
            always = f", of which {newlines} newline tokens always stay" if newlines else ""
            raise InputError(
                f"--retain of gprune must leave a token of each part of a picture, no more than it has: got "
                f"{shown(retain)}, expected {newlines + parts} to {newlines + total}{always}; change it"
            )
        # In the middle between two counts, so that rounding does not matter.
        shares = [min(1.0, (count + 0.5) / total) for count in range(total + 1)]
        return cls(keep_ratio=shares[solved(retain, lambda count: _tokens(shares[count], geometry), total)])


def kept_of(share: float, size: int) -> int:
    """Tokens that stay of a part, rounded down as released, but one at least."""
    return max(1, int(share * size))


def _tokens(share: float, geometry: Geometry) -> int:
    """Those that enter the LLM of the largest image."""
    return geometry.row_ends + sum(kept_of(share, size) for size in geometry.part_sizes)
