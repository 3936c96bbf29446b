"""What methods share that make a coarser grid of every view, whatever they put into its cells."""

from dataclasses import dataclass, field
from typing import Self

from llava.reduction.base import Geometry, Reduction, name_of
from llava.reduction.checks import check_grid, check_image, positive
from llava.reduction.rules.grid import fitting_grid
from llava.reduction.schedule import per_view


@dataclass(frozen=True)
class Gridded(Reduction):
    """`rows` x `cols` tokens of every view."""

    rows: int = field(metadata={"help": "rows of a view's coarser grid, e.g. 8"})
    cols: int = field(metadata={"help": "columns of a view's coarser grid, e.g. 8"})

    def __post_init__(self) -> None:
        positive("rows", self.rows)
        positive("cols", self.cols)

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
        check_image(f"--retain of {name_of(cls)}", retain, geometry)
        return cls(*fitting_grid(per_view(retain, geometry, name_of(cls)), geometry.side))
