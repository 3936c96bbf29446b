"""Rows of a KV cache that come and go. Who joins is written beside the others, who leaves is written over.

All rows end in the same column, so that a new token is written once for all of them; what is left of a row's own tokens
is padding. There are places for a few more rows and columns for a few more tokens: nobody else is moved for a newcomer,
and one row at most for each that leaves.
"""

from collections.abc import Sequence

import torch

from llava.model.cache.growing_layer import GrowingLayer
from llava.model.cache.staged_cache import StagedCache
from llava.reduction.sent import sent

Lengths = tuple[int, ...]  # cached tokens of a row in each stage

ROOM = 64  # columns for new tokens whenever rows are packed; after so many tokens they are packed once more
SLACK = 16  # columns of padding before the longest row, for newcomers that are a little longer
SPARE = 4  # a place is kept free for every so many rows, and one at least
CHEAP = 64 * 2**20  # bytes of further free places: where rows are small, copying them for newcomers costs more


class Slots:
    """Places for rows, in buffers of their own. `cache` is of the first `count` of them.

    Args:
        like: a cache of the same stages that was filled.
        places: rows there is room for.
        widths: the column in which rows end, in each stage.
    """

    def __init__(self, like: StagedCache, places: int, widths: Sequence[int]) -> None:
        self.cache, self.places, self.count = like.like(ROOM), places, 0
        self._edges = list(widths)
        self._fillers: list[torch.Tensor] = []
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        for stage, width in zip(self.cache.stages, widths):
            for layer in range(stage.first, stage.stop):
                keys = like.layers[layer].keys
                shape = (places, keys.shape[1], width + ROOM, keys.shape[3])
                self._buffers.append((keys.new_empty(shape), keys.new_empty(shape)))
            device = like.layers[stage.first].keys.device
            self._fillers.append(torch.zeros(places, width + ROOM, dtype=torch.bool, device=device))

    @property
    def full(self) -> bool:
        """There is no column for another token."""
        return self._edge(0) == self._fillers[0].shape[1]

    def fits(self, source: StagedCache, rows: int) -> bool:
        """Whether so many rows of a cache can join as they stand there."""
        narrow = all(source.length(number) <= self._edge(number) for number in range(len(self._edges)))
        return narrow and self.count + rows <= self.places

    def add(self, source: StagedCache, rows: Sequence[int], lengths: Sequence[Lengths] | None = None) -> None:
        """Copy rows of a cache behind those that are here.

        Args:
            lengths: of those rows; given, the padding between their tokens is left out.
        """
        edges = [self._edge(number) for number in range(len(self._edges))]
        places = slice(self.count, self.count + len(rows))
        everyone = list(rows) == list(range(len(source.layers[0].keys)))
        for number, (stage, edge) in enumerate(zip(self.cache.stages, edges)):
            filler = source.known_filler(number)
            index = None if everyone else sent(list(rows), filler.device)
            filler, columns = filler if index is None else filler[index], None
            if lengths is not None:
                width = max(own[number] for own in lengths)
                columns = (~filler).long().argsort(dim=1, stable=True)[:, -width:]
                filler = filler.gather(1, columns)
            start = edge - filler.shape[1]
            assert start >= 0, "rows must not be longer than there are columns for"
            self._fillers[number][places, :start] = True
            self._fillers[number][places, start:edge] = filler
            self._fillers[number][places, edge:] = False
            for layer in range(stage.first, stage.stop):
                held = source.layers[layer]
                for buffer, states in zip(self._buffers[layer], (held.keys, held.values)):
                    taken = states if index is None else states[index.to(states.device)]
                    if columns is not None:
                        taken = taken.take_along_dim(columns.to(states.device)[:, None, :, None], dim=2)
                    buffer[places, :, :start] = 0  # padding is masked, but it must be a number
                    buffer[places, :, start:edge] = taken
        surplus = tuple(source.surplus[row] if source.surplus else 0 for row in rows)
        gaps = (*(self.cache.gaps or (0,) * self.count), *(source.gaps[row] if source.gaps else 0 for row in rows))
        self._show(self.count + len(rows), edges, (*self.cache.surplus, *surplus), gaps)

    def keep(self, staying: Sequence[int]) -> list[int]:
        """Let all other rows go.

        Returns:
            for each row that is left, which one it was: rows from the end take the places that became free.
        """
        order = order_after(staying)
        edges = [self._edge(number) for number in range(len(self._edges))]
        moves = [(to, row) for to, row in enumerate(order) if to != row]
        if moves:
            for number, (stage, edge) in enumerate(zip(self.cache.stages, edges)):
                filler = self._fillers[number]
                to, row = sent(moves, filler.device).T
                filler[to] = filler[row]
                for layer in range(stage.first, stage.stop):
                    for buffer in self._buffers[layer]:
                        buffer[to.to(buffer.device), :, :edge] = buffer[row.to(buffer.device), :, :edge]
        gaps = tuple(self.cache.gaps[row] for row in order) if self.cache.gaps else ()
        self._show(len(order), edges, tuple(self.cache.surplus[row] for row in order), gaps)
        return order

    def _edge(self, stage: int) -> int:
        """The column behind the newest token."""
        return self.cache.length(stage) if self.count else self._edges[stage]

    def _show(self, count: int, edges: Sequence[int], surplus: tuple[int, ...], gaps: tuple[int, ...]) -> None:
        """Make the first `count` places those of the cache."""
        self.count, self.cache.surplus, self._edges = count, surplus, list(edges)
        self.cache.gaps = gaps if any(gaps) else ()
        for stage, filler, edge in zip(self.cache.stages, self._fillers, edges):
            stage.filler = filler[:count, :edge]
            for layer in range(stage.first, stage.stop):
                held, (keys, values) = self.cache.layers[layer], self._buffers[layer]
                assert isinstance(held, GrowingLayer)
                held.hold(keys[:count], values[:count], edge)


def order_after(staying: Sequence[int]) -> list[int]:
    """Which row stands at each place once only some, in rising order, are left: as few as can be move.

    Example: rows 1, 3 and 4 stay of five -> [3, 1, 4].
    """
    here = {row for row in staying if row < len(staying)}
    later = iter(row for row in staying if row >= len(staying))
    return [place if place in here else next(later) for place in range(len(staying))]


def joined(slots: Slots | None, source: StagedCache, rows: Sequence[int], lengths: Sequence[Lengths]) -> Slots:
    """Rows of a cache that was just filled beside those that are there, where there are any.

    Args:
        lengths: of all rows, the newcomers' last.
    """
    if slots is None:
        widths = [source.length(number) + SLACK for number in range(len(source.stages))]
        slots = Slots(source, _places(len(rows), source, widths), widths)
    elif not slots.fits(source, len(rows)):
        return packed([(slots.cache, range(slots.count)), (source, rows)], lengths)
    slots.add(source, rows)
    return slots


def packed(sources: Sequence[tuple[StagedCache, Sequence[int]]], lengths: Sequence[Lengths]) -> Slots:
    """Some rows of caches, one cache's after the other's, without more padding than they need.

    Args:
        sources: caches of the same stages, which are only read, and the rows to take of each.
        lengths: of the rows that are taken, in their order.
    """
    assert sum(len(rows) for _, rows in sources) == len(lengths) > 0, "every row has its lengths"
    like = sources[0][0]
    widths = [max(own[number] for own in lengths) + SLACK for number in range(len(like.stages))]
    slots, at = Slots(like, _places(len(lengths), like, widths), widths), 0
    for source, rows in sources:
        slots.add(source, rows, lengths[at : at + len(rows)])
        at += len(rows)
    return slots


def _places(rows: int, like: StagedCache, widths: Sequence[int]) -> int:
    """Places to make for so many rows: as many again where that takes little memory."""
    one = 0  # bytes of a place
    for stage, width in zip(like.stages, widths):
        keys = like.layers[stage.first].keys
        one += 2 * (stage.stop - stage.first) * keys[0, :, 0].numel() * (width + ROOM) * keys.element_size()
    return rows + max(1, rows // SPARE, min(rows + SPARE, CHEAP // one))
