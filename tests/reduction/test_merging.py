"""Contextual tokens against the rule of the paper's code, written as loops over tokens."""

import pytest
import torch

from llava.reduction.merging import merge_rest


def merged_by_hand(
    values: torch.Tensor, keys: torch.Tensor, rest: list[int], contextual: int
) -> tuple[list[torch.Tensor], list[int], list[int]]:
    """One image: the new tokens, their targets, and for each token the slot it went into (-1: none)."""
    step = max(1, len(rest) // contextual)
    targets = [rest[slot * step] for slot in range(contextual)]
    unit = [key / key.norm() for key in keys]
    groups: list[list[int]] = [[] for _ in targets]
    slots = [-1] * len(values)
    for token in rest:
        if token in targets:
            slots[token] = targets.index(token)
            continue
        similar = [float(unit[token] @ unit[target]) for target in targets]
        best = similar.index(max(similar))
        groups[best].append(token)
        slots[token] = best
    built = [
        values[target] + (torch.stack([values[t] for t in group]).mean(0) if group else torch.zeros_like(values[0]))
        for target, group in zip(targets, groups)
    ]
    return built, targets, slots


@pytest.mark.parametrize(("left", "contextual"), [(12, 1), (12, 5), (12, 4), (13, 6), (7, 7), (20, 3), (9, 8)])
def test_rest_is_folded_as_by_hand(left: int, contextual: int) -> None:
    generator = torch.Generator().manual_seed(left * contextual)
    values, keys = torch.randn(24, 10, generator=generator), torch.randn(24, 5, generator=generator)
    rest = sorted(torch.randperm(24, generator=generator)[:left].tolist())
    marked = torch.zeros(1, 24, dtype=torch.bool)
    marked[0, rest] = True
    got = merge_rest(values[None], keys[None], marked, (left,), contextual)
    built, targets, slots = merged_by_hand(values, keys, rest, contextual)
    torch.testing.assert_close(got.values[0], torch.stack(built), atol=1e-5, rtol=0)
    assert got.targets[0].tolist() == targets
    assert got.assignment[0].tolist() == slots
    assert got.counts == (contextual,)


def test_a_contextual_token_is_target_plus_mean_not_an_average() -> None:
    values = torch.tensor([[[10.0], [2.0], [4.0]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [1.0, -0.1]]])
    got = merge_rest(values, keys, torch.ones(1, 3, dtype=torch.bool), (3,), 1)
    assert got.values.tolist() == [[[13.0]]]


def test_a_target_that_nobody_joined_stays_as_it_is() -> None:
    values = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.2], [-1.0, 0.0], [1.0, 0.1]]])
    got = merge_rest(values, keys, torch.ones(1, 4, dtype=torch.bool), (4,), 2)
    assert got.targets.tolist() == [[0, 2]]
    assert got.values.tolist() == [[[1.0 + 3.0], [3.0]]]


def test_on_a_tie_the_first_target_wins() -> None:
    keys = torch.ones(1, 4, 2)
    got = merge_rest(torch.arange(4.0).view(1, 4, 1), keys, torch.ones(1, 4, dtype=torch.bool), (4,), 2)
    assert got.assignment.tolist() == [[0, 0, 1, 0]]


def test_a_row_of_a_batch_is_the_row_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    values, keys = torch.randn(3, 16, 6, generator=generator), torch.randn(3, 16, 4, generator=generator)
    rest = torch.zeros(3, 16, dtype=torch.bool)
    rest[0, 2:], rest[1, 5:12] = True, True
    counts = (14, 7, 0)
    together = merge_rest(values, keys, rest, counts, 3)
    for row in (0, 1):
        one = slice(row, row + 1)
        alone = merge_rest(values[one], keys[one], rest[one], counts[one], 3)
        torch.testing.assert_close(together.values[one], alone.values, atol=1e-6, rtol=0)
        assert torch.equal(together.targets[one], alone.targets)
        assert torch.equal(together.assignment[one], alone.assignment)
    assert together.counts == (3, 3, 0) and together.targets[2].tolist() == [16] * 3
    assert together.assignment[2].tolist() == [-1] * 16


def test_images_of_a_batch_may_have_other_numbers_of_slots() -> None:
    """Also none at all, for an image of which only what was kept is to stay."""
    generator = torch.Generator().manual_seed(5)
    values, keys = torch.randn(4, 16, 6, generator=generator), torch.randn(4, 16, 4, generator=generator)
    rest = torch.zeros(4, 16, dtype=torch.bool)
    rest[0, 2:], rest[1, 5:12], rest[2, 9:] = True, True, True
    together = merge_rest(values, keys, rest, (14, 7, 7, 0), (4, 2, 0, 3))
    assert together.counts == (4, 2, 0, 0)
    for row, contextual in ((0, 4), (1, 2)):
        one = slice(row, row + 1)
        alone = merge_rest(values[one], keys[one], rest[one], (int(rest[row].sum()),), contextual)
        torch.testing.assert_close(together.values[row, :contextual], alone.values[0], atol=1e-6, rtol=0)
        assert together.targets[row].tolist() == alone.targets[0].tolist() + [16] * (4 - contextual)
        assert torch.equal(together.assignment[row], alone.assignment[0])
    assert together.targets[2:].tolist() == [[16] * 4] * 2 and together.assignment[2:].eq(-1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_dtype_and_joins_as_float32_does(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    values = torch.randn(1, 40, 6, generator=generator).to(dtype)
    keys = torch.randn(1, 40, 8, generator=generator).to(dtype)
    rest = torch.ones(1, 40, dtype=torch.bool)
    half, full = (merge_rest(v, k, rest, (40,), 4) for v, k in ((values, keys), (values.float(), keys.float())))
    assert half.values.dtype == dtype
    assert torch.equal(half.assignment, full.assignment)
    torch.testing.assert_close(half.values.float(), full.values, atol=0.05, rtol=0.02)
