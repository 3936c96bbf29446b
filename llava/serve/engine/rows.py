"""Rows of a KV cache that come and go. Their tokens are put at the right of the columns, padding at the left.

In a cache that was just filled, padding lies between a prefix and a shorter question too.
"""

from collections.abc import Sequence

import torch

from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.staged_cache import StagedCache

Lengths = tuple[int, ...]  # cached tokens of a row in each stage


def rearranged(
    sources: Sequence[tuple[StagedCache, Sequence[int]]], lengths: Sequence[Lengths], room: int
) -> StagedCache:
    """A cache of some rows of others, one cache's rows after the other's, without more padding than they need.

    Args:
        sources: caches of the same stages, and the rows to take of each.
        lengths: of the rows that are taken, in their order.
        room: columns to keep free for new tokens.

    Returns:
        a cache of its own; the sources are only read.
    """
    assert sum(len(rows) for _, rows in sources) == len(lengths) > 0, "every row has its lengths"
    cache = sources[0][0].like(room)
    cache.add_surplus(tuple(source.surplus[row] if source.surplus else 0 for source, rows in sources for row in rows))
    for number, stage in enumerate(cache.stages):
        own = [row[number] for row in lengths]
        width = max(own)
        places = [_places(source, rows, number, width) for source, rows in sources]
        for layer in range(stage.first, stage.stop):
            target = cache.layers[layer]
            assert isinstance(target, GrowingLayer)
            keys, values = _gathered(sources, places, layer, width, room)
            target.hold(keys, values, width)
        if min(own) < width:
            missing = torch.tensor([[width - length] for length in own])
            stage.filler = (torch.arange(width) < missing).to(cache.layers[stage.first].keys.device)
    return cache


def _places(source: StagedCache, rows: Sequence[int], stage: int, width: int) -> torch.Tensor:
    """(rows, n) columns of a stage's last n <= width tokens that are no padding; before them padding, if need be."""
    filler = source.known_filler(stage)[torch.tensor(list(rows), device=source.layers[0].keys.device)]
    return (~filler).long().argsort(dim=1, stable=True)[:, -width:]


def _gathered(
    sources: Sequence[tuple[StagedCache, Sequence[int]]],
    places: Sequence[torch.Tensor],
    layer: int,
    width: int,
    room: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values (rows, G, width + room, d) of one layer."""
    first = sources[0][0].layers[layer].keys
    count = sum(len(rows) for _, rows in sources)
    buffers = tuple(first.new_zeros(count, first.shape[1], width + room, first.shape[3]) for _ in range(2))
    at = 0
    for (source, rows), columns in zip(sources, places):
        index = torch.tensor(list(rows), device=first.device)
        for buffer, states in zip(buffers, (source.layers[layer].keys, source.layers[layer].values)):
            taken = states[index].take_along_dim(columns[:, None, :, None], dim=2)
            buffer[at : at + len(rows), :, width - taken.shape[2] : width] = taken
        at += len(rows)
    return buffers
