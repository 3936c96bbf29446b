"""Rows of a cache that come and go: every row's own tokens stay what they are, wherever they are put."""

from random import Random

import pytest
import torch
from transformers import LlamaConfig

from llava.model.cache.staged_cache import StagedCache
from llava.serve.engine.rows import ROOM, Slots, joined, order_after, packed

CONFIG = LlamaConfig(num_hidden_layers=3)
STAGES = [(0, 1), (1, 3)]
HEADS, WIDTH = 2, 2


def numbers(row: list[int], layer: int) -> torch.Tensor:
    """Keys (heads, tokens, width) that tell which tokens and which layer they are of."""
    return (torch.tensor(row, dtype=torch.float32) * 10 + layer)[None, :, None].expand(HEADS, -1, WIDTH)


def filled(rows: list[tuple[list[int], list[int]]]) -> StagedCache:
    """A cache as a prefill leaves it: of each row its tokens in both stages, padding anywhere between them."""
    cache = StagedCache(CONFIG)
    cache.open(STAGES, False)
    cache.surplus = tuple(range(len(rows)))
    for number, (first, stop) in enumerate(STAGES):
        width = max(len(row[number]) for row in rows) + 1
        places = [sorted(Random(len(row[number])).sample(range(width), len(row[number]))) for row in rows]
        filler = torch.ones(len(rows), width, dtype=torch.bool)
        for at, own in enumerate(places):
            filler[at, own] = False
        for layer in range(first, stop):
            keys = torch.full((len(rows), HEADS, width, WIDTH), -1.0)
            for at, own in enumerate(places):
                keys[at, :, own] = numbers(rows[at][number], layer)
            cache.layers[layer].hold(keys, keys + 0.5, width)
        cache.stages[number].filler = filler
    return cache


def check(slots: Slots, rows: list[tuple[list[int], list[int]]]) -> None:
    """The tokens of every row, in order, and nothing else."""
    assert slots.count == len(rows)
    for number, (first, stop) in enumerate(STAGES):
        filler = slots.cache.known_filler(number)
        for layer in range(first, stop):
            held = slots.cache.layers[layer]
            assert held.keys.isfinite().all() and held.values.isfinite().all()
            for at, row in enumerate(rows):
                torch.testing.assert_close(held.keys[at][:, ~filler[at]], numbers(row[number], layer), rtol=0, atol=0)
                assert torch.equal(held.values[at][:, ~filler[at]], held.keys[at][:, ~filler[at]] + 0.5)


def lengths(rows: list[tuple[list[int], list[int]]]) -> list[tuple[int, ...]]:
    return [tuple(map(len, row)) for row in rows]


def step(slots: Slots, rows: list[tuple[list[int], list[int]]], token: int) -> None:
    """A new token in every row, as a forward pass writes it."""
    for layer in range(3):
        new = numbers([token], layer)[None].expand(len(rows), -1, -1, -1)
        slots.cache.layers[layer].update(new, new + 0.5)
    for row in rows:
        row[0].append(token)
        row[1].append(token)


@pytest.mark.parametrize("seed", range(4))
def test_rows_keep_their_tokens_through_everything(seed: int) -> None:
    random, made = Random(seed), iter(range(1, 100_000))
    slots: Slots | None = None
    rows: list[tuple[list[int], list[int]]] = []
    names: list[int] = []
    for _ in range(100):
        doing = random.choice(("join", "leave", "step", "step"))
        if doing == "join" and len(rows) < 9:
            longest = random.choice((4, 9, 60))
            new = [tuple([next(made) for _ in range(random.randint(1, longest))] for _ in STAGES) for _ in range(3)]
            taken = sorted(random.sample(range(3), random.randint(1, 3)))
            source = filled(new)  # type: ignore[arg-type]
            rows += [new[at] for at in taken]  # type: ignore[misc]
            names += taken
            slots = joined(slots, source, taken, lengths(rows))
        elif doing == "leave" and slots is not None:
            staying = sorted(random.sample(range(len(rows)), random.randint(1, len(rows))))
            order = slots.keep(staying)
            assert sorted(order) == staying
            rows, names = [rows[at] for at in order], [names[at] for at in order]
        elif doing == "step" and slots is not None:
            if slots.full:
                slots = packed([(slots.cache, range(slots.count))], lengths(rows))
            step(slots, rows, next(made))
        if slots is not None:
            check(slots, rows)
            assert slots.cache.surplus == tuple(names)


def test_nobody_is_moved_for_a_newcomer_who_fits() -> None:
    first = [([1, 2, 3], [1, 2]), ([4, 5], [4])]
    slots = joined(None, filled(first), [0, 1], lengths(first))
    buffer = slots.cache.layers[0].keys.data_ptr()
    again = joined(slots, filled([([6] * 5, [6])]), [0], lengths(first) + [(5, 1)])
    assert again is slots and slots.cache.layers[0].keys.data_ptr() == buffer
    check(slots, [*first, ([6] * 5, [6])])
    assert joined(slots, filled([([7] * 90, [7])]), [0], [*lengths(first), (5, 1), (90, 1)]) is not slots


def test_there_is_room_for_many_tokens_before_rows_are_packed_again() -> None:
    rows = [([1], [1])]
    slots = joined(None, filled(rows), [0], lengths(rows))
    for token in range(ROOM):
        assert not slots.full
        step(slots, rows, token)
    assert slots.full


def test_as_few_rows_as_can_be_move() -> None:
    assert order_after([1, 3, 4]) == [3, 1, 4][:3]
    assert order_after([0, 1, 2]) == [0, 1, 2] and order_after([5]) == [5] and order_after([]) == []
    assert order_after([0, 4, 5, 6]) == [0, 4, 5, 6]


def test_small_rows_leave_as_many_places_again() -> None:
    rows = [([number], [number]) for number in range(8)]
    slots = joined(None, filled(rows), list(range(8)), lengths(rows))
    more = [([number], [number]) for number in range(20, 28)]
    assert joined(slots, filled(more), list(range(8)), lengths(rows + more)) is slots
    check(slots, rows + more)


def test_large_rows_leave_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava.serve.engine.rows.CHEAP", 0)
    rows = [([number], [number]) for number in range(8)]
    assert joined(None, filled(rows), list(range(8)), lengths(rows)).places == 10
