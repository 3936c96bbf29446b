"""The decoder of Qwen's vision-language models: positions of time, row and column, which tokens keep, and deepstack."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast

from llava.constants import IGNORE_INDEX
from llava.errors import InputError
from llava.hf.cache import PromptCache, is_filled
from llava.hf.entry import enter
from llava.hf.mrope_evidence import MRopeEvidence, Rotary, one_table
from llava.hf.note import Note
from llava.hf.staged import own_cache
from llava.model.devices import device_of
from llava.model.evidence.llama import Around
from llava.model.language_model.masks import layer_masks
from llava.model.language_model.staged_decoder import stage_bounds
from llava.model.layout import Layout
from llava.model.splicing import Splicing, splicing
from llava.model.targets import asking_columns, join_spans, split_spans
from llava.model.trace import StageTrace
from llava.reduction.merging import Merged
from llava.reduction.methods.none import Unreduced


@dataclass(frozen=True)
class Flow:
    """What goes from one stage to the next.

    Attributes:
        hidden: (B, T, D), padded on the left as `layout` says.
        positions: (B, T, 3) int64: time, row, column.
        deep: (B, T, D) each, what is added after the first layers of all; zero at text.
        labels: (B, T) int64, in training.
    """

    hidden: torch.Tensor
    layout: Layout
    positions: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()
    labels: torch.Tensor | None = None


class MRopeEntering:
    """Mixed in before Qwen's decoder; `note` is the call's."""

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        visual_pos_masks: torch.Tensor | None = None,
        deepstack_visual_embeds: list[torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """transformers' call. Whatever is dropped, the others keep their positions."""
        host: Any = self
        note: Note = self.__dict__["note"]
        embeds = host.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        wanted = host.config.use_cache if use_cache is None else use_cache
        cache = own_cache(past_key_values, wanted, host.config)
        started = is_filled(cache)
        positions = _triples(position_ids, embeds, cache)
        entered = enter(note, embeds, attention_mask, cache)
        deep, columns = entered.deep, entered.columns
        if not deep and deepstack_visual_embeds is not None and visual_pos_masks is not None:
            deep = tuple(_dense(values, visual_pos_masks, embeds) for values in deepstack_visual_embeds)
            deep = deep if columns is None else tuple(one.take_along_dim(columns[..., None], dim=1) for one in deep)
        if columns is not None:
            positions = positions.take_along_dim(columns[..., None], dim=1)
        method = Unreduced() if started or not entered.layout.spans else note.plan.inside
        if method.masks or method.recomputes:
            raise InputError("this model's tokens are dropped, not masked: got a form that masks; leave published out")
        labels = entered.labels
        if labels is not None and method.layers and method.reads_question:
            labels = labels.cpu()  # once, instead of asking the device at every stage
        flow = Flow(entered.embeds, entered.layout, positions, deep, labels)
        hidden = _run(host, flow, cache, method, note, wanted, kwargs)
        return BaseModelOutputWithPast(last_hidden_state=host.norm(hidden), past_key_values=cache)


def _run(
    host: Any, flow: Flow, cache: PromptCache | None, method: Any, note: Note, use_cache: bool, kwargs: dict[str, Any]
) -> torch.Tensor:
    """The layers, stage by stage: (B, T', D) of the last stage's tokens, whose labels are noted."""
    bounds = stage_bounds(method.layers, len(host.layers))
    if cache is not None:
        if not cache.stages:
            cache.open(bounds, keeps_positions=True)
        bounds = [(stage.first, stage.stop) for stage in cache.stages]
    entered, hidden, before = flow, flow.hidden, flow.hidden
    first_asking = _asking(flow, method)
    rotary: Any = None
    for number, (first, stop) in enumerate(bounds):
        if number > 0 and method.layers:
            asked, _ = split_spans(entered.layout, first_asking)
            ends = None if first_asking is None else [own[-1] + 1 if own else 0 for own in first_asking]
            around = Around(host.layers[first - 1], before, host.norm, entered.hidden, asked, ends)
            flow = _dropped(host, replace(flow, hidden=hidden), first, number - 1, method, rotary, around, note)
            hidden = flow.hidden
        filler = _filler(flow, cache, number)
        view = cache.view(number) if cache is not None else None
        masks = layer_masks(host.config, hidden, filler, view, None, (first, stop))
        rotary = host.rotary_emb(hidden, flow.positions.permute(2, 0, 1))
        for place, mask in zip(range(first, stop), masks):
            before = hidden
            hidden = host.layers[place](
                hidden,
                attention_mask=mask,
                position_ids=None,
                past_key_values=cache,
                use_cache=use_cache,
                position_embeddings=rotary,
                **kwargs,
            )
            if place < len(flow.deep):
                hidden = hidden + flow.deep[place].to(hidden)
    note.labels = flow.labels
    return hidden


def _dropped(
    host: Any, flow: Flow, first: int, stage: int, method: Any, rotary: Rotary, around: Around, note: Note
) -> Flow:
    """What enters layer `first`, after the method was asked."""
    asking = _asking(flow, method)
    layout, others = split_spans(flow.layout, asking)
    if not layout.spans:
        return flow
    device = device_of(host.layers[first])
    cos, sin = (table.to(device) for table in one_table(rotary, host.config))
    hidden = flow.hidden.to(device)
    around = replace(around, entered_before=around.entered_before.to(device))
    selection = method.at_layer(stage, MRopeEvidence(host.layers[first], hidden, layout, (cos, sin), asking, around))
    how = splicing(layout, selection, device)
    merged = selection.merged
    rows, columns, _ = layout.columns(device)
    contextual, own_positions, deep = None, None, flow.deep
    positions = flow.positions.to(device)
    if merged is not None and how.room:
        own = positions[rows[:, None], columns]
        own_positions = own.take_along_dim(merged.targets.clamp(max=own.shape[1] - 1)[..., None], dim=1)
        contextual = merged.values
    deep = tuple(
        how.moved(values, None if contextual is None else follow_merge(values[rows[:, None], columns], merged))
        for values in (one.to(device) for one in deep)
    )
    moved = how.moved(hidden, contextual)
    if note.trace is not None:
        note.trace.stages.append(StageTrace(first, selection, layout, how.after, hidden, moved, around))
    labels = None if flow.labels is None else _moved_labels(flow.labels, how)
    return Flow(moved, join_spans(how.after, others), how.moved(positions, own_positions), deep, labels)


def _asking(flow: Flow, method: Any) -> list[list[int]] | None:
    """In training, the columns of the tokens that a method which reads the question chooses by; None: the last."""
    return asking_columns(flow.labels) if flow.labels is not None and method.reads_question else None


def _moved_labels(labels: torch.Tensor, how: Splicing) -> torch.Tensor:
    """(B, T) labels -> (B, T') of what is left; a merged token has none."""
    none = labels.new_full((len(how.rows), how.places.shape[1]), IGNORE_INDEX)
    moved = Splicing(how.source.to(labels.device), how.after, how.rows, how.places, how.room).moved(labels, none)
    padding = torch.arange(how.after.width, device=labels.device) < how.after.padding(labels.device)
    return moved.masked_fill(padding, IGNORE_INDEX)


def follow_merge(values: torch.Tensor, merged: Merged | None) -> torch.Tensor:
    """(I, n, D) of all tokens -> (I, slots, D), target plus mean of those that joined, as `merge_rest` does."""
    assert merged is not None
    slots, length = merged.targets.shape[1], values.shape[1]
    is_target = torch.zeros(len(values), length + 1, dtype=torch.bool, device=values.device)
    is_target = is_target.scatter(1, merged.targets, True)[:, :length]
    joins = (merged.assignment >= 0) & ~is_target
    share = torch.nn.functional.one_hot(merged.assignment.clamp(min=0), slots).float() * joins[..., None]
    mean = share.transpose(1, 2) @ values.float() / share.sum(dim=1).clamp(min=1)[..., None]
    return values.take_along_dim(merged.targets.clamp(max=length - 1)[..., None], dim=1) + mean.to(values.dtype)


def _triples(given: torch.Tensor | None, embeds: torch.Tensor, cache: PromptCache | None) -> torch.Tensor:
    """Positions as transformers passes them, (B, T), (3, B, T), or four rows with text's first -> (B, T, 3)."""
    rows, width = embeds.shape[:2]
    if given is None:
        past = cache.get_seq_length() if cache is not None else 0
        given = torch.arange(past, past + width, device=embeds.device)[None]
    if given.ndim == 2:
        given = given[None].expand(3, -1, -1)
    return given[-3:].permute(1, 2, 0).expand(rows, -1, -1)


def _dense(values: torch.Tensor, where: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    """(total, D) at the places marked in (B, T) bool -> (B, T, D), zero elsewhere."""
    made = torch.zeros_like(embeds)
    made[where.to(made.device)] = values.to(made)
    return made


def _filler(flow: Flow, cache: PromptCache | None, stage: int) -> torch.Tensor | None:
    """(B, cached + T) bool, True at padding; noted in the cache. None: there is none."""
    count, device = flow.hidden.shape[1], flow.hidden.device
    new = torch.arange(count, device=device) < flow.layout.padding(device) if flow.layout.padded else None
    if cache is None:
        return new
    filler = cache.filler_and(stage, new, count)
    if new is not None:
        cache.stages[stage].filler = filler
    return filler
