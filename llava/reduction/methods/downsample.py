"""Look at a smaller picture: fewer patches from the start, the cheapest way to fewer tokens.

A control, from no paper; VisionDrop (arXiv 2506.22283) and the others are measured against it. Each view is shrunk
(linearly, antialiased) to `rows` x `cols` patches, and the encoder's position embeddings are interpolated to that grid,
as transformers does for pictures of another size. Nothing is chosen or merged, and the encoder itself is faster.
"""

from dataclasses import dataclass, field
from typing import Self

from llava.reduction.base import Geometry, Reduction
from llava.reduction.checks import check_grid, check_image, positive
from llava.reduction.encoder_evidence import EncoderEvidence
from llava.reduction.rules.grid import cells, fitting_grid, middles
from llava.reduction.schedule import per_view
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class Downsample(Reduction):
    """A smaller picture."""

    rows: int = field(metadata={"help": "rows of patches of the smaller picture, e.g. 8"})
    cols: int = field(metadata={"help": "columns of patches of the smaller picture, e.g. 8"})

    def __post_init__(self) -> None:
        positive("rows", self.rows)
        positive("cols", self.cols)

    def grid(self, side: int) -> tuple[int, int]:
        return self.rows, self.cols

    def at_encoder(self, evidence: EncoderEvidence) -> Selection:
        values, side = evidence.values, evidence.whole_side
        cell = cells(self.rows, self.cols, side, values.device).expand(len(values), -1)
        kept = middles(self.rows, self.cols, side, values.device).expand(len(values), -1)
        counts = (self.rows * self.cols,) * len(values)
        return Selection(kept, counts, (cell >= 0).float(), values=values, assignment=cell)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.views * self.rows * self.cols]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_grid(self.rows, self.cols, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """The largest grid of at most `retain` patches, shared out evenly among the views; see the method `pool`."""
        check_image("--retain of downsample", retain, geometry)
        return cls(*fitting_grid(per_view(retain, geometry), geometry.side))
