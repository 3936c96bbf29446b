"""Images smaller than the largest: every stage keeps the same share of each, and one token at least."""

from fractions import Fraction

import pytest
import torch
from fakes import FakeEvidence

from llava.reduction import Geometry, Reduction, create, method_class
from llava.reduction.stages import own_counts, own_pairs

NEXT = Geometry(layers=32, patches=576, views=5, unreduced=2928)  # LLaVA-1.6


def images(initial: tuple[int, ...], largest: int, lengths: tuple[int, ...] | None = None) -> FakeEvidence:
    return FakeEvidence.random(lengths or initial, initial_lengths=initial, largest_lengths=(largest,) * len(initial))


def test_a_count_is_shared_out_by_tokens_on_entering_and_halves_go_up() -> None:
    evidence = images((480, 384, 288, 96), 480)
    assert own_counts(evidence, 350) == (350, 280, 210, 70)
    assert own_counts(evidence, 191) == (191, 153, 115, 38)  # 191, 152.8, 114.6, 38.2
    assert own_counts(images((4, 3, 2, 1), 4), 2) == (2, 2, 1, 1)  # 2, 1.5, 1, 0.5
    assert own_counts(images((3, 1), 1000), 5) == (1, 1)  # nothing is less than a token
    assert own_counts(images((7,), 7), 5) == (5,)


def test_a_pair_is_shared_as_a_whole_and_what_is_not_contextual_is_dominant() -> None:
    evidence = images((480, 384, 288, 96), 480)
    assert own_pairs(evidence, 300, 50) == ((300, 240, 180, 60), (50, 40, 30, 10))
    assert own_pairs(images((10, 6, 2), 10), 5, 1) == ((5, 3, 1), (1, 1, 0))
    # What has no more tokens than it may keep stays as it is, in its order.
    assert own_pairs(images((10, 6, 2), 10, lengths=(9, 4, 1)), 5, 1) == ((5, 4, 1), (1, 0, 0))


@pytest.mark.parametrize("retain", [640, 320, 160, 40, 8])
@pytest.mark.parametrize("views", [5, 4, 3, 2, 1])
def test_a_budget_is_the_same_share_of_every_image(retain: int, views: int) -> None:
    method = method_class("visiondrop").from_budget(retain, NEXT)
    largest = method.tokens_per_stage(NEXT)
    per_view = largest[0] // 5
    lengths, entered = (views * per_view,), (views * per_view,)
    for stage, whole in enumerate(largest[1:]):
        chosen = method.at_layer(stage, images(entered, largest[0], lengths))
        assert chosen.counts[0] == max(1, round(Fraction(whole * views, 5) + Fraction(1, 10**9)))
        assert chosen.counts[0] <= lengths[0]
        lengths = chosen.counts


def whole_road(method: Reduction, entered: tuple[int, ...], largest: int) -> list[tuple[int, ...]]:
    counts, lengths = [], entered
    for stage in range(len(method.layers)):
        lengths = method.at_layer(stage, images(entered, largest, lengths)).counts
        counts.append(lengths)
    return counts


def test_the_smallest_images_keep_a_token_through_all_stages() -> None:
    pairs = [[6, 2], [3, 1], [1, 1]]
    drop = create("visiondrop", dominant=2, contextual=1, layer_list=[8, 16, 24], image_token_list=pairs)
    assert whole_road(drop, (15, 3, 1), 15) == [(8, 2, 1), (4, 1, 1), (2, 1, 1)]
    pyramid = create("pyramiddrop", image_token_ratio_list=[0.3, 0.1, 0.01])
    assert whole_road(pyramid, (300, 9, 1), 300) == [(90, 2, 1), (30, 1, 1), (3, 1, 1)]


@pytest.mark.parametrize("name", ["visiondrop", "pyramiddrop"])
def test_images_of_a_batch_are_as_they_are_alone(name: str) -> None:
    settings = {"dominant": 2, "contextual": 1, "layer_list": [3], "image_token_list": [[20, 7]]}
    method = (
        create(name, **settings) if name == "visiondrop" else create(name, layer_list=[3], image_token_ratio_list=[0.4])
    )
    together = images((40, 31, 12, 2, 1), 40)
    chosen = method.at_layer(0, together)
    for row in range(5):
        alone = method.at_layer(0, together.row(row))
        assert alone.counts == (chosen.counts[row],)
        count = alone.kept_counts[0]
        assert alone.kept[0, :count].tolist() == chosen.kept[row, :count].tolist()
        if alone.merged is not None and chosen.merged is not None:
            real = alone.merged.counts[0]
            assert chosen.merged.counts[row] == real
            torch.testing.assert_close(
                chosen.merged.values[row, :real], alone.merged.values[0, :real], atol=1e-5, rtol=0
            )
