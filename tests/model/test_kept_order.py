"""Where the tokens that a method kept stand in the LLM: views one after the other, or the picture with its newlines."""

import pytest
import torch
from conftest import Load, sample

from llava.merge_config import Merge
from llava.model.forms import Form, Rules
from llava.model.kept_order import kept_order, view_order
from llava.model.trace import Trace
from llava.reduction.merging import summary
from llava.reduction.selection import NEWLINES, PICTURE, VIEWS, Selection

pytestmark = pytest.mark.shallow

SPATIAL = Rules(side=2, merge=Merge(spatial=True, unpad=True))
TILES = Form(3, "image", (1, 2), (2, 1))  # a base view and two tiles side by side, nothing to cut off
ONE = Form(1, "image", (0, 0), (1, 1))


def kept(rows: list[list[int]], counts: tuple[int, ...], arrangement: str, **more: object) -> Selection:
    indices = torch.tensor(rows)
    return Selection(indices, counts, torch.zeros(len(rows), 4), arrangement=arrangement, **more)


def test_newlines_stay_and_patches_stand_where_the_picture_has_them() -> None:
    # Slots 0 and 1 are of the base view, 2 and 3 of the left tile, 4 and 5 of the right one; 6 is the newline.
    chosen = kept([[1, 2], [0, 3], [1, 2]], (2, 2, 2), NEWLINES)
    order, lengths = kept_order(chosen, [TILES], SPATIAL)
    assert order is not None and order.tolist() == [0, 1, 2, 4, 6, 3, 5, 6] and lengths == [8]
    order, lengths = kept_order(kept([[1, 2]] * 4, (2,) * 4, NEWLINES), [ONE, TILES], SPATIAL)
    assert order is not None and lengths == [3, 8] and order[:3].tolist() == [0, 1, 8]


def test_where_pictures_are_flat_there_are_no_newlines() -> None:
    flat = Rules(side=2, merge=Merge())
    order, lengths = kept_order(kept([[1, 2], [0, 3]], (2, 2), NEWLINES), [Form(2)], flat)
    assert order is None and lengths == [4]


@pytest.mark.parametrize("arrangement", [VIEWS, PICTURE])
def test_views_of_different_numbers_follow_each_other_without_their_filling(arrangement: str) -> None:
    indices = torch.tensor([[3, 0, 1], [2, 4, 4]])
    rest = summary(torch.zeros(2, 1, 5), indices, 4)
    chosen = Selection(indices, (3, 1), torch.zeros(2, 4), rest, keeps_cls=True, arrangement=arrangement)
    order, lengths = kept_order(chosen, [ONE, ONE], SPATIAL)
    assert order is not None and order.tolist() == [0, 1, 2, 3, 4, 5, 6, 9] and lengths == [5, 3]
    assert view_order(kept([[3, 0], [2, 1]], (2, 2), arrangement), [2]) == (None, [4])
    assert rest.assignment.tolist() == [[-1, -1, 0, -1], [0, 0, -1, 0]] and rest.targets.tolist() == [[4], [4]]


@torch.no_grad()
@pytest.mark.parametrize("name", ["fastervlm", "vispruner"])
def test_keeping_every_patch_of_every_tile_is_the_unreduced_picture(load: Load, name: str) -> None:
    loaded = load("llava-tiny-next")
    asked, whole, traced = sample(loaded, "What is it?", "3.png"), Trace(), Trace()
    given = {"input_ids": asked.input_ids, "images": asked.images, "image_sizes": asked.image_sizes}
    loaded.model(**given, reduction="none", trace=whole)
    loaded.model(**given, reduction={"method": name, "visual_token_num": 576}, trace=traced)
    assert whole.inputs_embeds is not None and traced.inputs_embeds is not None
    torch.testing.assert_close(traced.inputs_embeds, whole.inputs_embeds, atol=1e-6, rtol=0)


@torch.no_grad()
def test_divprune_takes_newlines_too_and_holov_none(load: Load) -> None:
    loaded = load("llava-tiny-next")
    asked = sample(loaded, "What is it?", "3.png")
    given = {"input_ids": asked.input_ids, "images": asked.images, "image_sizes": asked.image_sizes}
    whole = Trace()
    loaded.model(**given, reduction="none", trace=whole)
    assert whole.layout is not None and whole.inputs_embeds is not None
    [span] = whole.layout.spans
    tokens = whole.inputs_embeds[0, span.start : span.start + span.length]
    trace = Trace()
    loaded.model(**given, reduction={"method": "divprune", "subset_ratio": 0.1}, trace=trace)
    assert trace.pooled and trace.encoder is not None and trace.inputs_embeds is not None
    count = round(0.1 * span.length)
    assert trace.encoder.kept.shape == (1, count) and trace.encoder.scores.shape == (1, span.length)
    own = trace.inputs_embeds[0, span.start : span.start + count]
    torch.testing.assert_close(own, tokens[trace.encoder.kept[0]], atol=1e-6, rtol=0)
    loaded.model(**given, reduction={"method": "holov", "new_image_token_num": 100}, trace=(trace := Trace()))
    assert trace.pooled and trace.order is None and trace.encoder is not None
    assert trace.encoder.scores.shape[1] == 576 * len(asked.images[0])
