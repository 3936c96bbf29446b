"""What a schedule must fit into: the sizes of a model and of the largest image it may be shown."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """What a schedule must fit into.

    Attributes:
        layers: decoder layers of the language model.
        patches: visual tokens of one view of an image, without [CLS].
        views: the most views an image can have (1, or 1 + tiles for LLaVA-NeXT).
        has_cls: the vision encoder has a [CLS] token.
        unreduced: tokens of the largest image where nothing is dropped, LLaVA-NeXT's newlines counted; None: its
            patches.
        encoder_layers: layers of the vision encoder.
        scales: at how many scales it sees a view (`s2`).
        cls_patch: a view's [CLS] goes to the LLM too where nothing is dropped.
        parts: of the largest image, how many tokens its base view has and its tiles as one picture, or each frame,
            newlines aside; (): the patches of one view.
        frames: of a video, each of which is a view; 0: pictures.
        stages: tokens may be dropped between the language model's layers, which must know positions of their own.
    """

    layers: int
    patches: int
    views: int = 1
    has_cls: bool = True
    unreduced: int | None = None
    frames: int = 0
    stages: bool = True
    encoder_layers: int = 24
    scales: int = 1
    cls_patch: bool = False
    parts: tuple[int, ...] = ()

    @property
    def side(self) -> int:
        """Patches along one side of a view."""
        return math.isqrt(self.patches)

    @property
    def newlines(self) -> int:
        """Newline tokens of the largest image where nothing is dropped."""
        return max(0, self.most_tokens - (self.patches + self.cls_patch) * self.views)

    @property
    def part_sizes(self) -> tuple[int, ...]:
        """`parts`, or the patches of the base view and, as one, those of all others."""
        others = self.patches * (self.views - 1)
        return self.parts or ((self.patches, others) if others else (self.patches,))

    @property
    def row_ends(self) -> int:
        """Newline tokens of the largest image where nothing is dropped, also of one whose patches are pooled."""
        return self.most_tokens - sum(self.part_sizes) - self.cls_patch * self.views

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest image where nothing is dropped."""
        return self.patches * self.views if self.unreduced is None else self.unreduced
