"""Average the tokens of every cell of a coarser grid: what a choice of tokens has to beat to be worth anything.

A control, from no paper, in which nothing is chosen; VisionDrop (arXiv 2506.22283) and the others are measured against
it. The grid of a view's projected tokens is cut into `rows` x `cols` cells of whole patches; each becomes its mean.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import check_grid, check_image, positive
from llava.reduction.encoder_evidence import ProjectedEvidence
from llava.reduction.rules.grid import cell_means, cells, fitting_grid, middles
from llava.reduction.schedule import per_view
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class Pool(Reduction):
    """Means of cells, after the projector."""

    rows: int = field(metadata={"help": "rows of a view's grid of tokens, e.g. 8"})
    cols: int = field(metadata={"help": "columns of a view's grid of tokens, e.g. 8"})
    after_projector: ClassVar[Literal["view", "patches", "image"] | None] = "view"

    def __post_init__(self) -> None:
        positive("rows", self.rows)
        positive("cols", self.cols)

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

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.views * self.rows * self.cols]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_grid(self.rows, self.cols, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The largest grid of at most `retain` cells, shared out evenly among the views.

        It is not longer than twice as wide, or four times where that comes nearer by far; of several the squarest. 64
        is 8 x 8, 32 is 4 x 8, 14 is 2 x 7; 57 is not to be had and becomes 7 x 8.
        """
        check_image("--retain of pool", retain, geometry)
        return cls(*fitting_grid(per_view(retain, geometry), geometry.side))
