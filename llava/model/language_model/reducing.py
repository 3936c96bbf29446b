"""What happens between two layers where a method drops image tokens, or only looks away from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from llava.model.cache.staged_cache import StagedCache
from llava.model.devices import device_of
from llava.model.evidence.decoding import DecodingEvidence
from llava.model.evidence.llama import Around, LlamaEvidence
from llava.model.layout import Layout
from llava.model.sharded import ask_nothing, gather
from llava.model.splicing import spliced_positions, splicing
from llava.model.targets import asking_columns, follow, join_spans, split_spans
from llava.model.trace import StageTrace, Trace
from llava.reduction import Reduction, Selection
from llava.reduction.selection import membership

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Flow:
    """What goes from one stage to the next.

    Attributes:
        hidden: (B, T, D), padded on the left as `layout` says.
        labels: (B, T) int64, in training.
        positions: (1 or B, T) int64, those that tokens keep; None: they are counted.
        ahead: (B, T) int64, on entering, how much further on tokens stand than they are counted; None: nowhere.
        unseen: (B, T) bool, True where later layers do not look; None: they look everywhere.
    """

    hidden: torch.Tensor
    layout: Layout
    labels: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    unseen: torch.Tensor | None = None
    ahead: torch.Tensor | None = None


class Reducing:
    """A method in one forward pass over a prompt.

    Args:
        decoder: the layers and the norm after them.
        flow: what enters the LLM.
        trace: filled in where given.
        idle: see `StagedDecoder.forward`.
    """

    def __init__(
        self, decoder: Any, method: Reduction, flow: Flow, trace: Trace | None, idle: Sequence[int] | None = None
    ) -> None:
        self._decoder, self._method, self._entered, self._trace, self._idle = decoder, method, flow, trace, idle
        self._first_asking = self._asking(flow.labels)

    def _asking(self, labels: torch.Tensor | None) -> list[list[int]] | None:
        return asking_columns(labels) if labels is not None and self._method.reads_question else None

    def spans(self, layout: Layout) -> Layout:
        """The layout with its images where the method takes them to be."""
        start = self._method.image_start
        return layout if start is None or not layout.spans else layout.beginning_at(start)

    def _around(self, first: int, before: torch.Tensor) -> Around:
        layout = self.spans(split_spans(self._entered.layout, self._first_asking)[0])
        ends = None
        if self._first_asking is not None:
            ends = [columns[-1] + 1 if columns else 0 for columns in self._first_asking]
        layer, norm = self._decoder.layers[first - 1], self._decoder.norm
        return Around(layer, before, norm, self._entered.hidden, layout, ends)

    def before(self, first: int, stage: int, flow: Flow, entered_before: torch.Tensor, rotary: Rotary) -> Flow:
        """What enters layer `first`, after the method was asked.

        Args:
            stage: the method's, from 0.
            entered_before: (B, T, D), what entered the layer before.
            rotary: that of the layer before.
        """
        asking = self._asking(flow.labels)
        asked, others = split_spans(flow.layout, asking)
        asked = self.spans(asked)
        if not asked.spans:
            if self._idle is not None:
                ask_nothing(self._decoder, self._method, stage, first, self._idle[stage])
            return flow
        gather(self._decoder.layers[first])
        # The layer asked may lie on another device than those before it.
        device = device_of(self._decoder.layers[first])
        hidden, cos, sin, entered_before = (states.to(device) for states in (flow.hidden, *rotary, entered_before))
        around = self._around(first, entered_before)
        evidence = LlamaEvidence(self._decoder.layers[first], hidden, asked, (cos, sin), asking, around)
        selection = self._method.at_layer(stage, evidence)
        flow = replace(flow, hidden=hidden)
        if self._method.masks:
            unseen = not_kept(selection, asked, device)
            after, reduced = asked, replace(flow, unseen=unseen if flow.unseen is None else unseen | flow.unseen)
        else:
            after, reduced = _dropped(flow, asked, selection)
            reduced = replace(reduced, layout=join_spans(after, others))
        if self._trace is not None:
            self._trace.stages.append(StageTrace(first, selection, asked, after, hidden, reduced.hidden, around))
        return reduced


def _dropped(flow: Flow, asked: Layout, selection: Selection) -> tuple[Layout, Flow]:
    """The images that were asked about, shortened, and what is left of everything."""
    how = splicing(asked, selection, flow.hidden.device)
    hidden = how.moved(flow.hidden, selection.merged.values if selection.merged is not None else None)
    positions = flow.positions
    if positions is not None:
        positions = spliced_positions(positions.to(hidden.device).expand(len(hidden), -1), how, asked, selection)
    labels = follow(flow.labels, asked, how.after) if flow.labels is not None else None
    return how.after, Flow(hidden, how.after, labels, positions)


def not_kept(selection: Selection, layout: Layout, device: torch.device) -> torch.Tensor:
    """(B, T) bool, True at the image tokens that were not selected."""
    rows, columns, valid = layout.columns(device)
    away = valid & ~membership(selection.kept, valid.shape[1])
    table = torch.zeros(len(layout.lengths), layout.width + 1, dtype=torch.bool, device=device)
    table[rows[:, None], torch.where(valid, columns, layout.width)] = away
    return table[:, : layout.width]


def choose_again(
    layers: Any, cache: StagedCache, stage: int, entered_before: torch.Tensor, rotary: Rotary, trace: Trace | None
) -> None:
    """Let a new token of every row choose what the layers of a stage look at; written into the cache.

    Args:
        stage: of the cache, from 1; the layers before it have run.
        entered_before: (B, 1, D), what entered the last of them.
    """
    assert cache.masking is not None
    method, layout = cache.masking
    first = cache.stages[stage].first
    keys = cache.layers[first - 1].keys
    real = cache.filler_and(0, None, 0)
    evidence = DecodingEvidence(layers[first - 1], entered_before.to(keys.device), rotary, keys, real, layout)
    selection = method.at_layer(stage - 1, evidence)
    away = not_kept(selection, layout, keys.device)
    filler = torch.nn.functional.pad(away, (0, cache.length(stage) - layout.width))
    if real is not None:
        filler = filler | real[:, : filler.shape[1]].to(filler.device)
    cache.stages[stage].filler = filler
    if trace is not None:
        trace.later.append(StageTrace(first, selection, layout, layout, entered_before, entered_before))
