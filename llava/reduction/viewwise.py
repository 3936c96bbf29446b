"""What methods share that keep one number of tokens of every view, whatever they choose by."""

from dataclasses import dataclass
from typing import ClassVar, Self

from llava.reduction.base import Geometry, Reduction, name_of
from llava.reduction.checks import check_patches, positive
from llava.reduction.schedule import per_view, per_view_beside_newlines


@dataclass(frozen=True)
class Viewwise(Reduction):
    """So many tokens of every view, once, before the LLM; a subclass has the field that says how many."""

    count_setting: ClassVar[str] = "visual_token_num"
    """The name of that field."""
    keeps_newlines: ClassVar[bool] = False
    """True where rows of a LLaVA-NeXT image keep their newline tokens on top, which a budget then counts."""
    least: ClassVar[int] = 1
    """Tokens of a view that it cannot do without."""

    def __post_init__(self) -> None:
        positive(self.count_setting, self.count)

    @property
    def count(self) -> int:
        """Tokens of each view."""
        return getattr(self, self.count_setting)

    def tokens_per_stage(self, geometry: Geometry) -> list[int]:
        return [geometry.views * self.count + (geometry.newlines if self.keeps_newlines else 0)]

    def check(self, geometry: Geometry) -> None:
        super().check(geometry)
        check_patches(self.count_setting, self.count, geometry)

    @classmethod
    def from_budget(cls, retain: int, geometry: Geometry) -> Self:
        """`retain` tokens, shared out evenly among the views of a LLaVA-NeXT image, newlines that stay among them."""
        shared_out = per_view_beside_newlines if cls.keeps_newlines else per_view
        return cls(**{cls.count_setting: shared_out(retain, geometry, name_of(cls), cls.least)})
