"""The best tokens, in their old order."""

import pytest
import torch

from llava.reduction.merging import Merged
from llava.reduction.selection import Selection, membership, select_top


def test_the_highest_stay_in_ascending_order() -> None:
    assert select_top(torch.tensor([[0.1, 0.7, 0.3, 0.9]]), (3,)).tolist() == [[1, 2, 3]]


def test_ties_go_to_the_earlier_token() -> None:
    assert select_top(torch.tensor([[0.5, 0.9, 0.5, 0.5]]), (3,)).tolist() == [[0, 1, 2]]
    assert select_top(torch.zeros(1, 700), (5,)).tolist() == [[0, 1, 2, 3, 4]]


def test_rows_that_keep_fewer_are_filled_up_with_the_length() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0, -torch.inf], [1.0, 2.0, 3.0, 4.0]])
    assert select_top(scores, (1, 3)).tolist() == [[0, 4, 4], [1, 2, 3]]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_chosen_as_sorted_by_python(seed: int) -> None:
    torch.manual_seed(seed)
    scores, counts = torch.randint(0, 9, (4, 30)).float(), (30, 1, 7, 12)
    got = select_top(scores, counts)
    for row, count in enumerate(counts):
        ranked = sorted(range(30), key=lambda index: (-scores[row, index].item(), index))
        assert got[row].tolist() == sorted(ranked[:count]) + [30] * (30 - count)


def test_padding_is_never_chosen() -> None:
    scores = torch.full((1, 6), -5.0)
    scores[0, 4:] = -torch.inf
    assert select_top(scores, (4,)).tolist() == [[0, 1, 2, 3]]


def test_membership_ignores_the_fill() -> None:
    flags = membership(torch.tensor([[0, 2, 4], [1, 4, 4]]), 4)
    assert flags.tolist() == [[True, False, True, False], [False, True, False, False]]


def test_counts_add_kept_merged_and_cls() -> None:
    empty = torch.zeros(0)
    merged = Merged(empty, empty, empty, (6, 0))
    assert Selection(empty, (41, 5), empty, merged, keeps_cls=True).counts == (48, 6)
    assert Selection(empty, (41, 5), empty).counts == (41, 5)
