"""Average the tokens of every cell of a coarser grid: what a choice of tokens has to beat to be worth anything.

A control, from no paper, in which nothing is chosen; VisionDrop (arXiv 2506.22283) and the others are measured against
it. The grid of a view's projected tokens is cut into `rows` x `cols` cells of whole patches; each becomes its mean.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.gridded import Gridded
from llava.reduction.rules.grid import cell_means, cells, middles
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class Pool(Gridded):
    """Means of cells, after the projector."""

    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "view"

    def at_projector(self, evidence: ProjectedEvidence) -> Selection:
        values, side = evidence.values, round(evidence.lengths[0] ** 0.5)
        cell = cells(self.rows, self.cols, side, values.device)
        count = self.rows * self.cols
        kept = middles(self.rows, self.cols, side, values.device).expand(len(values), -1)
        return Selection(
            kept,
            (count,) * len(values),
            evidence.valid.float(),
            values=cell_means(values, cell, count),
            assignment=cell.expand(len(values), -1),
        )
