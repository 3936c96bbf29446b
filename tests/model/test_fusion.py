"""Text and images into one batch, against lists put together in Python."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import noise, tiny_model

from llava.errors import InputError
from llava.model.fusion import fuse, fuse_labels, plan_fusion
from llava.model.layout import Layout, Span
from llava.model.splicing import splice
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


padded_rows = st.lists(
    st.lists(st.sampled_from([1, 2, 3, IMAGE]), min_size=1, max_size=6).map(tuple), min_size=1, max_size=4
)


@given(padded_rows, st.data())
def test_any_mixture_of_rows_has_the_tokens_that_were_counted(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    """Padding anywhere, any cut, any number of images: the counted tokens in order, or one line."""
    images = sum(token == IMAGE for row in rows for token in row)
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=max(0, images - 1), max_size=images + 1))
    limit = data.draw(st.none() | st.integers(1, 20))
    columns = max(map(len, rows)) + data.draw(st.integers(0, 2))
    ids, mask = torch.full((len(rows), columns), IMAGE), torch.zeros(len(rows), columns, dtype=torch.long)
    for number, row in enumerate(rows):
        first = data.draw(st.integers(0, columns - len(row)))
        ids[number, first : first + len(row)] = torch.tensor(row)
        mask[number, first : first + len(row)] = 1
    try:
        plan = plan_fusion(ids, mask, lengths, limit)
    except InputError as error:
        assert "prompts and images must match" in str(error) and len(lengths) != images
        return
    assert len(lengths) == images
    whole = fused_by_hand([list(row) for row in rows], lengths)
    names = [f"t{token}" for token in ids.flatten().tolist()]
    names += [f"i{image}.{at}" for image, length in enumerate(lengths) for at in range(length)]
    for row, wanted in enumerate(whole):
        real = [names[at] for at in plan.source[row].tolist() if at >= 0]
        assert real == wanted[:limit]
        assert plan.source[row].tolist()[: plan.layout.width - len(real)] == [-1] * (plan.layout.width - len(real))
        spans = [span for span in plan.layout.spans if span.row == row]
        inside = [at for span in spans for at in range(span.start, span.start + span.length)]
        assert inside == [at for at, name in enumerate(real) if name[0] == "i"]
    longest = max(map(len, whole))
    assert (plan.cut is None) == (limit is None or longest <= limit)
    if plan.cut is not None and limit is not None:
        lost = [row for row in whole if len(row) > limit and any(name[0] == "i" for name in row)]
        ends = [max(at for at, name in enumerate(row) if name[0] == "i") + 1 for row in lost]
        assert (plan.cut.length, plan.cut.limit) == (longest, limit)
        assert plan.cut.question_lost == any(limit <= end < len(row) for row, end in zip(lost, ends))


def test_ids_and_masks_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"ids of a prompt must be tokens, or -200 where an image goes: got -100;"):
        plan_fusion(torch.tensor([[1, -100, 2]]), None, [])
    assert plan_fusion(torch.tensor([[1, 2, -100]]), torch.tensor([[1, 1, 0]]), []).layout.lengths == (2,)
    with pytest.raises(InputError, match=r"input_ids must be \(prompts, tokens\): got \(3,\); write input_ids\[None\]"):
        plan_fusion(torch.tensor([1, 2, 3]), None, [])
    with pytest.raises(InputError, match=r"attention_mask must have the shape of input_ids: got \(1, 2\), expected"):
        plan_fusion(torch.tensor([[1, 2, 3]]), torch.ones(1, 2), [])


def test_ids_outside_the_vocabulary_are_refused() -> None:
    model = tiny_model(side=2, layers=1)  # 20 tokens
    wanted = "ids of a prompt must be in the model's vocabulary: got 20, expected at most 19"
    with pytest.raises(InputError, match=wanted):
        model.generate(torch.tensor([[1, 20]]), max_new_tokens=1)
    prefix = model.encode_image(torch.tensor([[1, IMAGE]]), noise(model, 1))
    with pytest.raises(InputError, match=wanted):
        model.ask(prefix, [torch.tensor([20])], max_new_tokens=1)
    with pytest.raises(InputError, match="ids of a question must be tokens: got -100"):
        model.ask(prefix, [torch.tensor([3, -100])], max_new_tokens=1)


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
