"""What happened to an image's tokens in one request, for pictures, tests and papers."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from llava.model.layout import Layout
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class StageTrace:
    """One reduction inside the LLM: after `layer` layers, from `entering` (B, T, D) to `leaving` (B, T', D).

    Where nothing is removed but only masked, both are the same. `around` is what the method might ask besides.
    """

    layer: int
    selection: Selection
    before: Layout
    after: Layout
    entering: torch.Tensor
    leaving: torch.Tensor
    around: Any = None


@dataclass
class Trace:
    """Hand one to `generate(..., trace=Trace())` and it is filled in.

    Attributes:
        encoder: what was kept before the LLM of each view, or with `pooled` of all of a picture's tokens together, by
            their numbers in `order` (None for methods that keep all).
        order: (n,) int64, for the image tokens in the LLM, all images one after the other, their numbers among the
            tokens that left the encoder, all views one after the other, one more standing for LLaVA-NeXT's newline;
            None: they are the same. With `pooled`, before the choice that `encoder` is.
        pooled: `encoder` has a row for each picture, not for each view.
        inputs_embeds: (B, T, D), what entered the LLM.
        layout: where the images were in it.
        stages: the reductions of the prompt inside the LLM, in order.
        later: those that new tokens brought about, of methods that choose again at every token.
        rows: for each row, the number of its question, where `ask` has put them into another order.
    """

    encoder: Selection | None = None
    order: torch.Tensor | None = None
    pooled: bool = False
    inputs_embeds: torch.Tensor | None = None
    layout: Layout | None = None
    stages: list[StageTrace] = field(default_factory=list)
    later: list[StageTrace] = field(default_factory=list)
    rows: list[int] | None = None

    def of_later(self) -> "Trace":
        """What a new token fills in that runs the prompt again."""
        return Trace(stages=self.later)


class _WithoutStates(list[StageTrace]):
    """Stages that let go of the hidden states."""

    def append(self, stage: StageTrace) -> None:
        super().append(replace(stage, entering=stage.entering[:0, :0], leaving=stage.leaving[:0, :0]))


@dataclass
class CountTrace(Trace):
    """A trace for counting tokens, which holds no (B, T, D) states of the stages."""

    stages: list[StageTrace] = field(default_factory=_WithoutStates)

    def tokens(self, layers: list[int]) -> dict[int, float]:
        """For each question with images, the tokens of one image in a layer, on average over its images and the layers.

        Args:
            layers: how many layers run in each stage.
        """
        assert self.layout is not None
        counted = {}
        for row in {span.row for span in self.layout.spans}:
            # For beams, transformers repeats each row; every copy has the same counts.
            copies = [len(stage.after.lengths) // len(self.layout.lengths) for stage in self.stages]
            after = [self.layout.tokens_of(row)]
            after += [stage.after.tokens_of(row * times) for stage, times in zip(self.stages, copies)]
            after += after[-1:] * (len(layers) - len(after))  # a method that only looks away drops nothing
            images = sum(span.row == row for span in self.layout.spans)
            total = sum(tokens * run for tokens, run in zip(after, layers, strict=True))
            counted[self.rows[row] if self.rows is not None else row] = total / sum(layers) / images
        return counted
