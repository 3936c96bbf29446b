"""Where every image token of a request came from, stage by stage: from a trace to patches. No picture is drawn here."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

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


# A newline, a vector of zeros.
PLACELESS = Token(0, None)


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
    if trace.encoder is not None and trace.pooled:
        return _after_pool(trace, trace.encoder, whole, views, patches)
    if trace.encoder is not None:
        # Numbers in the order count the filling of views that keep fewer than others.
        padded = trace.order is not None
        chosen = [_left(whole[view * patches :][:patches], trace.encoder, view, padded) for view in range(views)]
        leaving = list(itertools.chain.from_iterable(chosen))
        scores = _placed(whole, trace.encoder.scores.flatten().tolist(), views, patches)
    elif keeps_cls:
        heads = [[Token(view, None), *whole[view * patches :][:patches]] for view in range(views)]
        leaving = list(itertools.chain.from_iterable(heads))
    else:
        leaving = whole
    if trace.order is not None:
        leaving = _ordered(leaving, trace.order)
    return _with_stages(trace, Stage(0, tuple(leaving), len(whole), scores), views, patches)


def _ordered(tokens: list[Token], order: torch.Tensor) -> list[Token]:
    """Tokens in an order of their numbers; what is none of them is a newline, or was made of several patches."""
    return [tokens[at] if at < len(tokens) else PLACELESS for at in order.tolist()]


def _after_pool(trace: Trace, chosen: Selection, whole: list[Token], views: int, patches: int) -> list[Stage]:
    """The stages of a request whose method chose among all tokens of the picture at once."""
    pool = whole if trace.order is None else _ordered(whole, trace.order)
    scores = _placed(pool, chosen.scores[0].tolist(), views, patches)
    return _with_stages(trace, Stage(0, tuple(_left(pool, chosen, 0)), len(pool), scores), views, patches)


def _with_stages(trace: Trace, first: Stage, views: int, patches: int) -> list[Stage]:
    """A stage and those inside the LLM that follow it."""
    found = [first]
    for stage in trace.stages:
        entering = list(found[-1].tokens)
        ranked = _placed(entering, stage.selection.scores[0].tolist(), views, patches)
        found.append(Stage(stage.layer, tuple(_left(entering, stage.selection, 0)), len(entering), ranked))
    return found


def _left(tokens: list[Token], selection: Selection, row: int, padded: bool = False) -> list[Token]:
    """What a selection leaves of the tokens of its row; `padded`: with the filling of its slots."""
    left = [Token(tokens[0].view, None)] if selection.keeps_cls else []
    kept = selection.kept[row, : selection.kept_counts[row]].tolist()
    if selection.assignment is not None:
        left += _folded(tokens, kept, selection.assignment[row].tolist())
    else:
        left += [tokens[at] if at < len(tokens) else PLACELESS for at in kept]
    left += [PLACELESS] * (selection.kept.shape[1] - len(kept)) if padded else []
    merged = selection.merged
    if merged is None or not (padded or merged.counts[row]):
        return left
    slots = merged.targets.shape[1] if padded else merged.counts[row]
    return left + _folded(tokens, merged.targets[row, :slots].tolist(), merged.assignment[row].tolist())


def _folded(tokens: list[Token], targets: list[int], slots: list[int]) -> list[Token]:
    """Tokens with what went into them.

    Args:
        targets: the token that each slot is built on; a number beyond them: on none.
        slots: the slot that each token went into.
    """
    members: dict[int, list[int]] = {}
    for at, slot in enumerate(slots):
        members.setdefault(slot, []).append(at)
    made = []
    for slot, target in enumerate(targets):
        joined = [tokens[at] for at in members.get(slot, []) if at != target]
        own = tokens[target] if target < len(tokens) else Token(joined[0].view if joined else 0, None)
        folded = own.folded + tuple(place for token in joined for place in token.places)
        made.append(Token(own.view, own.patch, folded))
    return made


def _placed(tokens: list[Token], scores: list[float], views: int, patches: int) -> np.ndarray:
    """(views, patches) float32: each token's score at its own patch."""
    placed = np.full((views, patches), np.nan, dtype=np.float32)
    for token, score in zip(tokens, scores):
        if token.patch is not None:
            placed[token.view, token.patch] = score
    return placed
