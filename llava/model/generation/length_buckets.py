"""Length bucketing: questions of other lengths in one batch are prefilled in buckets of like length, without padding.

The buckets write into rows of one cache, so that decoding goes on with the whole batch and nothing is copied. A bucket
of shorter questions begins at a later column; the columns it passes over are marked as padding.
"""

from collections.abc import Callable, Sequence

import torch

from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.staged_cache import StagedCache
from llava.model.layout import Layout

# Tokens below which a pass costs as much as one of more tokens would: for matrix products, and on a GPU for the launch
# of its kernels, tens of milliseconds of Python for 32 layers.
LEAST_TOKENS, LEAST_ELSEWHERE = {"cpu": 128}, 1024


def buckets_of(lengths: Sequence[int], least: int) -> list[tuple[int, int]]:
    """Cuts of rows of rising lengths: (first, last + 1) of each bucket, each of at least `least` tokens but the last.

    Example: lengths (5, 5, 5, 9, 9, 9), least 10 -> [(0, 3), (3, 6)].
    """
    cuts = [0]
    for row in range(1, len(lengths)):
        if lengths[row] > lengths[row - 1] and (row - cuts[-1]) * lengths[row - 1] >= least:
            cuts.append(row)
    return list(zip(cuts, [*cuts[1:], len(lengths)]))


def prefill_in_buckets(
    embeds: torch.Tensor,
    layout: Layout,
    cache: StagedCache,
    run: Callable[[torch.Tensor, Layout, StagedCache], torch.Tensor],
) -> torch.Tensor:
    """Run decoder inputs after a cache that has room for them.

    Args:
        embeds: (B, T, D), padded on the left, rows of rising lengths; text alone.
        run: inputs (b, t, D), their layout and a cache of those rows -> (b, V) logits of the last token.

    Returns:
        (B, V).
    """
    lengths = layout.lengths
    least = LEAST_TOKENS.get(embeds.device.type, LEAST_ELSEWHERE)
    pieces = buckets_of(lengths, least) if cache.stages else [(0, len(lengths))]
    if len(pieces) == 1:
        return run(embeds, layout, cache)
    logits = []
    for first, last in pieces:
        skip = layout.width - lengths[last - 1]
        part = _rows(cache, slice(first, last), skip)
        logits.append(run(embeds[first:last, skip:], Layout(lengths[first:last]), part))
    _advance(cache, layout)
    return torch.cat(logits)


def _rows(cache: StagedCache, rows: slice, skip: int) -> StagedCache:
    """Some rows of a cache as one that shares its buffers and has `skip` more columns, of padding."""
    part = cache.like()
    part.gaps = cache.gaps[rows]
    for own, layer in zip(part.layers, cache.layers):
        assert isinstance(own, GrowingLayer) and isinstance(layer, GrowingLayer) and layer.buffers is not None
        filled = layer.get_seq_length()
        for buffer in layer.buffers:
            buffer[rows, :, filled : filled + skip] = 0  # masked, but it must be a number
        own.hold(layer.buffers[0][rows], layer.buffers[1][rows], filled + skip)
    for number, (own_stage, stage) in enumerate(zip(part.stages, cache.stages)):
        if stage.filler is not None or skip:
            filler = cache.known_filler(number)[rows]
            own_stage.filler = torch.nn.functional.pad(filler, (0, skip), value=True)
    return part


def _advance(cache: StagedCache, layout: Layout) -> None:
    """Count in what the buckets have written."""
    fillers = [cache.known_filler(number) for number in range(len(cache.stages))]
    for stage, filler in zip(cache.stages, fillers):
        new = torch.arange(layout.width, device=filler.device) < layout.padding(filler.device)
        stage.filler = torch.cat([filler, new], dim=1)
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer) and layer.buffers is not None
        layer.hold(*layer.buffers, layer.get_seq_length() + layout.width)
