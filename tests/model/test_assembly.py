"""How the views of an image become its tokens: against the same put together patch by patch in Python."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from llava.errors import InputError
from llava.image_config import most_tokens
from llava.merge_config import Merge, merge_of
from llava.model.assembly import order_of, unpad_image, unreduced_tokens
from llava.model.forms import Form, Rules, forms_of, grid_of
from llava.pinpoints import get_anyres_image_grid_shape, parse_pinpoints, select_best_resolution
from llava.video_config import video_tokens

EDGE = 12
SPATIAL, UNPAD = Merge(spatial=True), Merge(spatial=True, unpad=True)
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
    forms = [
        Form(1 + rows * columns if rows else 1, "image", (rows, columns), size)
        for (rows, columns), size in zip(grids, sizes)
    ]
    features = torch.arange(first * side**2).view(first, side**2, 1)
    rules = Rules(side, UNPAD if unpad else SPATIAL)
    tokens, lengths, order = unreduced_tokens(features, forms, rules, torch.tensor([first * side**2]))
    assert lengths == [len(own) for own in wanted]
    assert torch.equal(tokens[:, 0], order)
    named = [
        "newline" if at == first * side * side else (at // side**2, at % side**2 // side, at % side)
        for at in order.tolist()
    ]
    assert named == [at for own in wanted for at in own]


MERGES = ["flat", "spatial", "spatial_unpad", "spatial_nobase", "spatial_unpad_nobase", "spatial_maxpool2x2"]


@settings(max_examples=200)
@given(
    st.lists(pinpoint, min_size=1, max_size=5),
    picture,
    st.sampled_from(MERGES),
    st.sampled_from(["anyres", "anyres_max_1", "anyres_max_2", "anyres_max_9"]),
)
def test_no_image_has_more_tokens_than_the_budget_is_made_for(
    pinpoints: list[tuple[int, int]], size: tuple[int, int], merge: str, ratio: str
) -> None:
    side = 3
    config = SimpleNamespace(image_aspect_ratio=ratio, mm_patch_merge_type=merge, image_grid_pinpoints=str(pinpoints))
    most = most_tokens(config, EDGE, side)
    limit = None if ratio == "anyres" else int(ratio[11:])
    rules = Rules(side, merge_of(config), limit)

    def tokens(of: tuple[int, int]) -> int:
        columns, rows = get_anyres_image_grid_shape(of, pinpoints, EDGE)
        (form,) = forms_of(config, EDGE, [1 + rows * columns], [of], None)
        return len(order_of(form, rules).tokens)

    assert tokens(size) <= most
    if limit is None:
        assert max(map(tokens, pinpoints)) == most  # the bound is reached


def patches(views: int, side: int) -> torch.Tensor:
    """(views, side^2, 2), the two numbers of each patch of its own."""
    return torch.randn(views, side * side, 2, generator=torch.Generator().manual_seed(views))


NEWLINE = torch.tensor([7.0, -7.0])


def laid_out(features: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Tiles (n, side^2, D) as one picture (D, h, w), patch by patch."""
    side = math.isqrt(features.shape[1])
    picture = torch.zeros(features.shape[2], rows * side, columns * side)
    for line in range(rows * side):
        for column in range(columns * side):
            tile = line // side * columns + column // side
            picture[:, line, column] = features[tile, line % side * side + column % side]
    return picture


def with_newlines(picture: torch.Tensor) -> torch.Tensor:
    """(D, h, w) -> (h * (w + 1), D)."""
    lines = [torch.cat([line.T, NEWLINE[None]]) for line in picture.unbind(1)]
    return torch.cat(lines) if lines else torch.zeros(0, len(picture))


@pytest.mark.parametrize(
    ("rows", "columns", "size", "limit", "shape"),
    [
        (2, 3, (90, 60), 2, (3, 5)),  # 6 x 9 patches for 18: 1.73 times too many each way
        (2, 3, (90, 60), 5, (6, 9)),  # 1.095 times: it stays
        (2, 3, (90, 60), 4, (4, 7)),  # 1.22 times, and 9 // 1.22 is 7
        (2, 3, (90, 30), 1, (2, 4)),  # one row of padding cut on either side, one left: 4 x 9 for 9
        (1, 1, (50, 50), 9, (3, 3)),
    ],
)
def test_anyres_max_shrinks_the_picture_without_its_padding_before_it_gets_newlines(
    rows: int, columns: int, size: tuple[int, int], limit: int, shape: tuple[int, int]
) -> None:
    features = patches(1 + rows * columns, 3)
    form, rules = Form(1 + rows * columns, "image", (rows, columns), size), Rules(3, UNPAD, limit)
    tokens, lengths, order = unreduced_tokens(features, [form], rules, NEWLINE)
    picture = unpad_image(laid_out(features[1:], rows, columns), size)
    if (picture.shape[1], picture.shape[2]) != shape:
        picture = functional.interpolate(picture[None], shape, mode="bilinear")[0]
        assert int(order.max()) == features[..., 0].numel() + shape[0] * shape[1]
    torch.testing.assert_close(tokens, torch.cat([features[0], with_newlines(picture)]))
    assert lengths == [9 + shape[0] * (shape[1] + 1)]


@pytest.mark.parametrize("nobase", [False, True])
def test_max_pooling_keeps_the_largest_of_the_tiles_and_cuts_nothing(nobase: bool) -> None:
    features, merge = patches(3, 3), Merge(spatial=True, unpad=True, maxpool=True, nobase=nobase)
    tokens, _, _ = unreduced_tokens(features, [Form(3, "image", (1, 2), (10, 90))], Rules(3, merge, 1), NEWLINE)
    pooled = functional.max_pool2d(laid_out(features[1:], 1, 2), 2).flatten(1).T
    assert pooled.shape == (3, 2)
    torch.testing.assert_close(tokens, pooled if nobase else torch.cat([features[0], pooled]))
    alone, _, _ = unreduced_tokens(features[:1], [Form(1)], Rules(3, merge, 1), NEWLINE)
    assert torch.equal(alone, torch.cat([features[0], NEWLINE[None]]))


@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize("mode", ["average", "max", "bilinear"])
@pytest.mark.parametrize("newlines", ["one_token", "no_token", "frame", "grid"])
@pytest.mark.parametrize("merge", ["flat", "spatial", "spatial_unpad"])
def test_frames_are_pooled_and_newlines_put_where_they_belong(side: int, mode: str, newlines: str, merge: str) -> None:
    config = SimpleNamespace(mm_patch_merge_type=merge, mm_spatial_pool_mode=mode, mm_newline_position=newlines)
    if merge == "spatial" and newlines in ("frame", "grid"):
        with pytest.raises(InputError, match=f"mm_newline_position '{newlines}' needs the newline token"):
            video_tokens(config, side, 5)
        return
    features, wide = patches(5, side), 2 if mode == "bilinear" else side // 2
    frames = features.view(5, side, side, 2).permute(0, 3, 1, 2)
    if mode == "bilinear":
        frames = functional.interpolate(frames, (wide, wide), mode="bilinear")
    else:
        frames = (functional.avg_pool2d if mode == "average" else functional.max_pool2d)(frames, 2)
    rows = [row.T for frame in frames for row in frame.unbind(1)]
    end, wanted = [NEWLINE[None]], []
    for number, row in enumerate(rows):
        last_of_frame = (number + 1) % wide == 0
        wanted += [row, *(end if newlines == "grid" or (newlines == "frame" and last_of_frame) else [])]
    wanted += end if newlines == "one_token" and merge == "spatial_unpad" else []
    if merge == "flat":
        wanted = rows
    rules = Rules(side, merge_of(config), None, mode, newlines)
    tokens, lengths, _ = unreduced_tokens(features, [Form(5, "video")], rules, NEWLINE)
    torch.testing.assert_close(tokens, torch.cat(wanted))
    assert lengths == [len(tokens)] == [video_tokens(config, side, 5)]


def test_a_picture_a_plain_view_and_videos_are_put_together_as_each_alone() -> None:
    forms = [Form(2, "video"), Form(1, "view"), Form(7, "image", (2, 3), (90, 60)), Form(3, "video"), Form(1)]
    rules, features = Rules(3, UNPAD, 2, "bilinear", "frame"), patches(14, 3)
    tokens, lengths, _ = unreduced_tokens(features, forms, rules, NEWLINE)
    first, alone = 0, []
    for form in forms:
        alone.append(unreduced_tokens(features[first : first + form.views], [form], rules, NEWLINE)[0])
        first += form.views
    assert lengths == [10, 9, 9 + 3 * 6, 15, 10]
    torch.testing.assert_close(tokens, torch.cat(alone), rtol=0, atol=0)


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
