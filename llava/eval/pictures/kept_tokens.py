"""Where every image token of a request came from, stage by stage: from a trace to patches. No picture is drawn here."""

import itertools
from dataclasses import dataclass

import numpy as np

from llava.model.trace import Trace
from llava.reduction.selection import Selection


@dataclass(frozen=True)
class Token:
    """An image token.

    Attributes:
        view: the view of the picture it belongs to, from 0.
        patch: its patch in the view, row by row; None for [CLS] and LLaVA-NeXT's newline token, which have no place.
        folded: (view, patch) of everything merged into it; empty for a token that was only kept.
    """

    view: int
    patch: int | None
    folded: tuple[tuple[int, int], ...] = ()

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """All patches it stands for."""
        own = () if self.patch is None else ((self.view, self.patch),)
        return own + self.folded


@dataclass(frozen=True)
class Stage:
    """What one stage left.

    Attributes:
        layer: LLM layers that have run before it; 0 for the vision encoder.
        tokens: what is left, in order.
        entering: tokens it chose from.
        scores: (views, patches) float32, the ranking, NaN where no token was ranked; None where nothing was chosen.
    """

    layer: int
    tokens: tuple[Token, ...]
    entering: int
    scores: np.ndarray | None


def stages_of(trace: Trace, views: int, patches: int, keeps_cls: bool = False) -> list[Stage]:
    """The stages of a request about one picture.

    Args:
        trace: filled in by `generate` for one prompt with one image.
        views, patches: views of the picture, patches of a view.
        keeps_cls: an unreduced view begins with [CLS] (`mm_vision_select_feature` is `cls_patch`).
    """
    whole = [Token(view, patch) for view in range(views) for patch in range(patches)]
    scores = None
    if trace.encoder is not None:
        chosen = [_left(whole[view * patches :][:patches], trace.encoder, view) for view in range(views)]
        leaving = list(itertools.chain.from_iterable(chosen))
        scores = _placed(whole, trace.encoder.scores.flatten().tolist(), views, patches)
    elif keeps_cls:
        heads = [[Token(view, None), *whole[view * patches :][:patches]] for view in range(views)]
        leaving = list(itertools.chain.from_iterable(heads))
    else:
        leaving = whole
    if trace.order is not None:
        newline = Token(0, None)
        leaving = [leaving[at] if at < len(leaving) else newline for at in trace.order.tolist()]
    found = [Stage(0, tuple(leaving), len(whole), scores)]
    for stage in trace.stages:
        entering = list(found[-1].tokens)
        ranked = _placed(entering, stage.selection.scores[0].tolist(), views, patches)
        found.append(Stage(stage.layer, tuple(_left(entering, stage.selection, 0)), len(entering), ranked))
    return found


def _left(tokens: list[Token], selection: Selection, row: int) -> list[Token]:
    """What a selection leaves of the tokens of its row."""
    left = [Token(tokens[0].view, None)] if selection.keeps_cls else []
    left += [tokens[at] for at in selection.kept[row, : selection.kept_counts[row]].tolist()]
    merged = selection.merged
    if merged is None or not merged.counts[row]:
        return left
    slots = merged.assignment[row].tolist()
    for slot, target in enumerate(merged.targets[row].tolist()):
        joined = [tokens[at] for at, into in enumerate(slots) if into == slot and at != target]
        folded = tokens[target].folded + tuple(place for token in joined for place in token.places)
        left.append(Token(tokens[target].view, tokens[target].patch, folded))
    return left


def _placed(tokens: list[Token], scores: list[float], views: int, patches: int) -> np.ndarray:
    """(views, patches) float32: each token's score at its own patch."""
    placed = np.full((views, patches), np.nan, dtype=np.float32)
    for token, score in zip(tokens, scores):
        if token.patch is not None:
            placed[token.view, token.patch] = score
    return placed
