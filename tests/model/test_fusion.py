"""Text and images into one batch, against lists put together in Python."""

import pytest
import torch

from llava.errors import InputError
from llava.model.fusion import fuse, fuse_labels, plan_fusion
from llava.model.layout import Layout, Span, splice
from llava.reduction.selection import Selection

IMAGE = -200


def fused_by_hand(rows: list[list[int]], lengths: list[int]) -> list[list[str]]:
    """Names of the tokens of each row: t5 for id 5, i0.2 for the third token of the first image."""
    image, result = 0, []
    for row in rows:
        names: list[str] = []
        for token in row:
            if token == IMAGE:
                names += [f"i{image}.{at}" for at in range(lengths[image])]
                image += 1
            else:
                names.append(f"t{token}")
        result.append(names)
    return result


ROWS = [[1, IMAGE, 2, 3], [4, 5], [IMAGE, 6, IMAGE, IMAGE], [7, IMAGE]]
LENGTHS = [3, 2, 1, 4, 1]


def batch(side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """ROWS padded with id 0 on a side."""
    ids, mask = torch.zeros(4, 5, dtype=torch.long), torch.zeros(4, 5, dtype=torch.long)
    for number, row in enumerate(ROWS):
        place = slice(5 - len(row), 5) if side == "left" else slice(0, len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return ids, mask


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_put_together_as_by_hand(side: str) -> None:
    ids, mask = batch(side)
    plan = plan_fusion(ids, mask, LENGTHS)
    wanted = fused_by_hand(ROWS, LENGTHS)
    names = [f"t{token}" for token in ids.flatten().tolist()]
    names += [f"i{image}.{at}" for image, length in enumerate(LENGTHS) for at in range(length)]
    for row, source in enumerate(plan.source.tolist()):
        padding = plan.layout.width - len(wanted[row])
        assert source[:padding] == [-1] * padding
        assert [names[at] for at in source[padding:]] == wanted[row]
    assert plan.layout.lengths == tuple(map(len, wanted))
    assert plan.surplus == (2, 0, 1 + 0 + 3, 0)
    text = torch.arange(20.0).view(4, 5, 1)
    images = 100 + torch.arange(11.0)[:, None]
    got = fuse(text, images, plan)
    pool = torch.cat([text.flatten(), images.flatten(), torch.zeros(1)])
    assert torch.equal(got[..., 0], pool[plan.source])
    assert got[1, : plan.layout.width - 2].abs().sum() == 0


def test_spans_say_where_images_are() -> None:
    plan = plan_fusion(*batch("left"), LENGTHS)
    assert plan.layout.spans == (
        Span(0, 1, 3, 3),
        Span(2, 0, 2, 2),
        Span(2, 3, 1, 1),
        Span(2, 4, 4, 4),
        Span(3, 1, 1, 1),
    )


def test_rows_are_cut_and_images_with_them() -> None:
    plan = plan_fusion(*batch("right"), LENGTHS, max_length=3)
    assert plan.layout == Layout((3, 2, 3, 2), (Span(0, 1, 2, 2), Span(2, 0, 2, 2), Span(3, 1, 1, 1)))


def test_labels_follow_their_tokens() -> None:
    ids, mask = batch("left")
    plan = plan_fusion(ids, mask, LENGTHS)
    labels = torch.where(mask.bool(), ids, -100)
    got = fuse_labels(labels, plan)
    for row, names in enumerate(fused_by_hand(ROWS, LENGTHS)):
        wanted = [int(name[1:]) if name[0] == "t" else -100 for name in names]
        assert got[row].tolist() == [-100] * (got.shape[1] - len(wanted)) + wanted


def test_numbers_that_do_not_match_are_refused() -> None:
    ids, mask = batch("left")
    with pytest.raises(InputError, match="got 4 images, expected 5, one per <image>"):
        plan_fusion(ids, mask, LENGTHS[:4])


def test_dropping_splices_rows_of_different_length() -> None:
    """Row 0: two images with text between; row 1: one image; tokens are numbered so that they can be told apart."""
    layout = Layout((9, 6), (Span(0, 1, 3, 3), Span(0, 5, 2, 2), Span(1, 0, 4, 4)))
    hidden = torch.zeros(2, 9, 1)
    hidden[0, :, 0] = torch.arange(10.0, 19.0)
    hidden[1, 3:, 0] = torch.arange(20.0, 26.0)
    chosen = Selection(torch.tensor([[0, 2], [1, 4], [0, 3]]), (2, 1, 2), torch.zeros(3, 4))
    got, new = splice(hidden, layout, chosen)
    assert new.lengths == (7, 4)
    assert new.spans == (Span(0, 1, 2, 3), Span(0, 4, 1, 2), Span(1, 0, 2, 4))
    assert got[0, :, 0].tolist() == [10, 11, 13, 14, 16, 17, 18]
    assert got[1, 3:, 0].tolist() == [20, 23, 24, 25]


def test_layouts_travel_as_tensors() -> None:
    layout = Layout((9, 6), (Span(0, 1, 3, 5), Span(1, 0, 4, 4)))
    assert Layout.from_tensor(layout.to_tensor()) == layout
