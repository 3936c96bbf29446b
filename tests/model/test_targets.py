"""Labels beside tokens that are dropped, and inputs with padding on any side."""

import pytest
import torch

from llava.errors import InputError
from llava.model.layout import Layout, Span
from llava.model.realign import pad_right, realign
from llava.model.targets import asking_columns, follow, join_spans, split_spans, without_first

NONE = -100


def test_labels_of_dropped_tokens_are_gone_and_all_others_stay() -> None:
    """Two rows; the first holds two images of 3 and 2 tokens that shrink to 1 each, the second is text and padded."""
    before = Layout((8, 5), (Span(0, 1, 3, 3), Span(0, 5, 2, 2)))
    after = before.after((1, 1))
    labels = torch.tensor([[NONE, NONE, NONE, NONE, 4, NONE, NONE, 7], [NONE, NONE, NONE, 13, 14, 15, 16, 17]])
    got = follow(labels, before, after)
    assert got.tolist() == [[NONE, NONE, 4, NONE, 7], [13, 14, 15, 16, 17]]
    assert follow(labels, before, before).tolist() == labels.tolist()


def test_the_first_token_of_a_row_is_no_target() -> None:
    labels = torch.arange(8).view(2, 4)
    assert without_first(labels, Layout((4, 2))).tolist() == [[NONE, 1, 2, 3], [NONE, NONE, NONE, 7]]


def test_what_asks_is_the_token_before_each_answer() -> None:
    labels = torch.tensor([[NONE, NONE, 5, 6, NONE, 7], [NONE] * 6, [NONE, 1, 1, 1, 1, 1]])
    assert asking_columns(labels) == [[1, 4], [], [0]]


def test_images_of_rows_that_ask_nothing_are_kept_apart() -> None:
    layout = Layout((9, 9), (Span(0, 1, 2, 2), Span(1, 1, 2, 2), Span(1, 4, 2, 2)))
    asked, others = split_spans(layout, [[], [6]])
    assert [span.row for span in asked.spans] == [1, 1] and [span.row for span in others.spans] == [0]
    assert join_spans(asked, others) == layout
    assert split_spans(layout, None) == (layout, Layout((9, 9)))


def test_padding_moves_to_the_left_and_back() -> None:
    embeds = torch.arange(12.0).view(2, 6, 1)
    mask = torch.tensor([[0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
    moved = realign(embeds, mask)
    assert moved is not None and moved.layout == Layout((3, 5))
    assert moved.embeds[..., 0].tolist() == [[0, 0, 1, 2, 3], [6, 7, 8, 9, 10]]
    back = moved.restore(moved.embeds)[..., 0]
    assert back[mask.bool()].tolist() == embeds[..., 0][mask.bool()].tolist()
    assert back[0, 4:].tolist() == [3, 3] and back[1, 5] == 10  # padding after a row repeats its last token
    assert moved.follow(embeds[..., 0].long()).tolist() == [[NONE, NONE, 1, 2, 3], [6, 7, 8, 9, 10]]


def test_masks_that_name_no_padding_or_other_tokens() -> None:
    embeds = torch.zeros(2, 3, 1)
    assert realign(embeds, None) is None and realign(embeds, torch.ones(2, 3)) is None
    assert realign(embeds, torch.ones(2, 5), cached=True) is None
    for wrong in (torch.ones(2, 5), torch.ones(1, 3), torch.ones(2, 1, 3, 3), torch.ones(2, 2)):
        with pytest.raises(InputError, match="attention_mask must name each token"):
            realign(embeds, wrong)
    with pytest.raises(InputError, match="at least one token"):
        realign(embeds, torch.tensor([[1, 1, 1], [0, 0, 0]]))


def test_columns_with_the_padding_on_the_right() -> None:
    layout = Layout((4, 2))
    assert pad_right(layout).tolist() == [[0, 1, 2, 3], [2, 3, 0, 1]]
