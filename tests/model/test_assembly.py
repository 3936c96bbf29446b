"""How the views of an image become its tokens: against the same put together patch by patch in Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llava.errors import InputError
from llava.image_config import most_tokens
from llava.model.assembly import grid_of, unpad_image, unreduced_tokens
from llava.pinpoints import get_anyres_image_grid_shape, parse_pinpoints, select_best_resolution

EDGE = 12
pinpoint = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda grid: (grid[0] * EDGE, grid[1] * EDGE))
picture = st.tuples(st.integers(1, 90), st.integers(1, 90))


def by_hand(grid: tuple[int, int], side: int, size: tuple[int, int], unpad: bool) -> list[tuple[int, int, int] | str]:
    """(view, row, column) of each patch in the order of the tokens, and "newline"."""
    rows, columns = grid
    base: list[tuple[int, int, int] | str] = [(0, row, column) for row in range(side) for column in range(side)]
    if not rows:
        return [*base, "newline"] if unpad else base
    high, wide = rows * side, columns * side
    first_row, first_column, last_row, last_column = 0, 0, high, wide
    if unpad and size[0] / size[1] > wide / high:
        first_row = (high - int(size[1] * (wide / size[0]))) // 2
        last_row = high - first_row
    elif unpad:
        first_column = (wide - int(size[0] * (high / size[1]))) // 2
        last_column = wide - first_column
    for row in range(first_row, last_row):
        for column in range(first_column, last_column):
            tile = 1 + row // side * columns + column // side
            base.append((tile, row % side, column % side))
        base += ["newline"] if unpad else []
    return base


@settings(max_examples=200)
@given(st.lists(pinpoint, min_size=1, max_size=4), st.lists(picture, min_size=1, max_size=3), st.data())
def test_tokens_are_counted_and_in_order_for_any_mixture_of_images(
    pinpoints: list[tuple[int, int]], sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    side, unpad = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    grids, wanted, first = [], [], 0
    for size in sizes:
        shape = get_anyres_image_grid_shape(size, pinpoints, EDGE)
        views = data.draw(st.sampled_from([1, 1 + shape[0] * shape[1]]))
        grids.append(grid_of(views, shape))
        own = by_hand(grids[-1], side, size, unpad)
        wanted.append([at if at == "newline" else (at[0] + first, *at[1:]) for at in own])
        first += views
    order, lengths = unreduced_tokens(grids, side, sizes, unpad)
    assert lengths == [len(own) for own in wanted]
    named = [
        "newline" if at == first * side * side else (at // side**2, at % side**2 // side, at % side)
        for at in order.tolist()
    ]
    assert named == [at for own in wanted for at in own]


@given(st.lists(pinpoint, min_size=1, max_size=5), picture, st.sampled_from(["flat", "spatial", "spatial_unpad"]))
def test_no_image_has_more_tokens_than_the_budget_is_made_for(
    pinpoints: list[tuple[int, int]], size: tuple[int, int], merge: str
) -> None:
    side, settings_ = 3, type("", (), {})()
    settings_.image_aspect_ratio, settings_.mm_patch_merge_type = "anyres", merge
    settings_.image_grid_pinpoints = str(pinpoints)
    most = most_tokens(settings_, EDGE, side)

    def tokens(of: tuple[int, int]) -> int:
        columns, rows = get_anyres_image_grid_shape(of, pinpoints, EDGE)
        if merge == "flat":
            return (1 + rows * columns) * side * side
        return unreduced_tokens([(rows, columns)], side, [of], merge == "spatial_unpad")[1][0]

    assert tokens(size) <= most
    assert max(map(tokens, pinpoints)) == most  # the bound is reached


def test_views_that_are_not_the_tiles_are_refused() -> None:
    with pytest.raises(InputError, match="got 4 views, expected 5 for its size"):
        grid_of(4, (2, 2))


@pytest.mark.parametrize(
    ("shape", "size", "kept"),
    [
        ((1, 4, 8), (200, 100), (4, 8)),
        ((2, 6, 6), (200, 100), (4, 6)),  # 6 wide, 3 high: one of three rows is cut on each side, one stays
        ((2, 6, 6), (100, 200), (6, 4)),
        ((1, 48, 48), (1000, 999), (48, 48)),
        ((3, 4, 4), (4000, 10), (0, 4)),
    ],
)
def test_unpad_image_is_llavas(shape: tuple[int, int, int], size: tuple[int, int], kept: tuple[int, int]) -> None:
    from llava.model.llava_arch import unpad_image as public

    assert public is unpad_image
    tensor = torch.arange(float(torch.Size(shape).numel())).view(shape)
    found = unpad_image(tensor, size)
    assert found.shape == (shape[0], *kept)
    top, left = (shape[1] - kept[0]) // 2, (shape[2] - kept[1]) // 2
    assert torch.equal(found, tensor[:, top : top + kept[0], left : left + kept[1]])


def test_pinpoints_of_any_form_choose_the_same() -> None:
    pairs = [[12, 24], [24, 12], [24, 24]]
    forms = [
        pairs,
        tuple(map(tuple, pairs)),
        str(pairs),
        str([tuple(pair) for pair in pairs]),
        "(12, 24),(24,12),(24,24)",
    ]
    for form in forms:
        assert parse_pinpoints(form, EDGE) == [(12, 24), (24, 12), (24, 24)]
        assert select_best_resolution((50, 50), parse_pinpoints(form, EDGE)) == (24, 24)
