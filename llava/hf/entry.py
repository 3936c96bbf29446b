"""What enters the first layer: prompts in which each picture's tokens were replaced by what the method left of them."""

from dataclasses import dataclass, replace

import torch

from llava.hf.cache import PromptCache, is_filled
from llava.hf.note import Entering, Note, together
from llava.hf.spans import padded, picture_layout
from llava.model.layout import Layout
from llava.model.targets import without_first


@dataclass(frozen=True)
class Entered:
    """Decoder inputs.

    Attributes:
        embeds: (B, T', D), padded on the left as `layout` says.
        columns: (B, T') int64, the column of the prompt that each token has its position of; None: its own.
        deep: (B, T', D) each, what is added after the first layers, where pictures were replaced.
        labels: (B, T') int64, in training.
    """

    embeds: torch.Tensor
    layout: Layout
    columns: torch.Tensor | None = None
    deep: tuple[torch.Tensor, ...] = ()
    labels: torch.Tensor | None = None


def enter(note: Note, embeds: torch.Tensor, mask: torch.Tensor | None, cache: PromptCache | None) -> Entered:
    """The inputs of a decoder.

    Args:
        embeds: (B, T, D), the prompt with all its image tokens, or new tokens after a cache.
        mask: (B, past + T), 0 at padding, on either side; None: there is none.
        cache: told how many columns were dropped.
    """
    rows, width = embeds.shape[:2]
    if width == 1 and is_filled(cache):
        return Entered(embeds, Layout((1,) * rows))  # decoding asks the device nothing
    given, prompt = padded(mask, rows, width), note.prompt
    order = None
    if given.order is not None:
        order = given.order.to(embeds.device)
        embeds = embeds.take_along_dim(order[..., None], dim=1)
        prompt = None if prompt is None else prompt.take_along_dim(given.order, dim=1)
    entered = Entered(embeds, Layout(given.lengths))
    if prompt is not None:
        entered = _with_pictures(note, embeds, prompt, given.lengths)
        if note.trace is not None:
            note.trace.layout = entered.layout
    columns = entered.columns
    if order is not None:
        columns = order if columns is None else order.take_along_dim(columns, dim=1)
    if cache is not None:
        cache.dropped += width - entered.layout.width
    return replace(entered, columns=columns, labels=_labels(note.labels, columns, entered.layout))


def _with_pictures(note: Note, embeds: torch.Tensor, prompt: torch.Tensor, lengths: tuple[int, ...]) -> Entered:
    """Prompts padded on the left, with what the method left of their pictures."""
    layout, pictures = picture_layout(prompt, {token: own.counts for token, own in note.pictures.items()}, lengths)
    entering = together(list(note.pictures.values())).entering
    entered = Entered(embeds, layout) if entering is None else _replaced(embeds, layout, pictures, entering)
    spans = [
        replace(span, initial=span.length, largest=note.plan.largest and max(span.length, note.plan.largest))
        for span in entered.layout.spans
    ]
    return replace(entered, layout=Layout(entered.layout.lengths, tuple(spans)))


def _labels(labels: torch.Tensor | None, columns: torch.Tensor | None, layout: Layout) -> torch.Tensor | None:
    """(B, T) labels -> (B, T') of the tokens that enter; padding has none, nor a row's first token."""
    if labels is None:
        return None
    moved = labels if columns is None else labels.take_along_dim(columns.to(labels.device), dim=1)
    return without_first(moved, layout)


def _replaced(embeds: torch.Tensor, layout: Layout, pictures: list[int], entering: Entering) -> Entered:
    """Index arithmetic on the host, then one gather."""
    device, (rows, width) = embeds.device, embeds.shape[:2]
    firsts = torch.tensor([0, *entering.counts]).cumsum(0).tolist()
    after = layout.after(tuple(entering.counts[number] for number in pictures))
    index = torch.zeros(rows, after.width, dtype=torch.long)  # into the old columns, then the entering tokens
    starts = torch.zeros(rows, after.width, dtype=torch.long)  # of its picture, for an entering token
    for row in range(rows):
        pad, new_pad = layout.width - layout.lengths[row], after.width - after.lengths[row]
        column, place = pad, new_pad
        for number, old, new in zip(pictures, layout.spans, after.spans):
            if old.row != row:
                continue
            text = pad + old.start - column
            index[row, place : place + text] = torch.arange(column, column + text) + row * width
            place += text
            index[row, place : place + new.length] = torch.arange(new.length) + firsts[number] + rows * width
            starts[row, place : place + new.length] = pad + old.start
            place, column = place + new.length, pad + old.start + old.length
        index[row, place:] = torch.arange(column, width) + row * width
    index, starts = index.to(device, non_blocking=True), starts.to(device, non_blocking=True)
    pool = torch.cat([embeds.flatten(0, 1), entering.tokens.to(embeds)])
    sources = entering.sources.to(device)
    own = torch.arange(width, device=device).repeat(rows)
    columns = torch.cat([own, sources])[index] + starts
    zeros = embeds.new_zeros(rows * width, embeds.shape[2])
    deep = tuple(torch.cat([zeros, values.to(zeros)])[index] for values in entering.deep)
    return Entered(pool[index], after, columns, deep)
