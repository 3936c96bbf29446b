"""An image among others of other lengths comes out as it does alone, and nothing but real tokens is chosen."""

from collections.abc import Callable

import pytest
import torch
from rule_images import COUNTS, LENGTHS, Images, alone, draw

from llava.reduction.rules import cdpruner, coverage, dart, divprune, holov, late, sparsevlm, vispruner, vscan

Counts = tuple[int, ...]
Rule = Callable[[Images, Counts], torch.Tensor]


def _mmtok(images: Images, counts: Counts) -> torch.Tensor:
    words = images.tokens[:, :5]
    return coverage.mmtok_order(
        words, images.tokens, images.tokens.flip(2), counts, images.valid, torch.ones(words.shape[:2], dtype=torch.bool)
    )


def _vispruner(images: Images, counts: Counts) -> torch.Tensor:
    first = tuple(count // 3 for count in counts)
    others = tuple(count - count // 3 for count in counts)
    return vispruner.important_and_diverse(images.tokens, images.scores, first, others, images.lengths)


def _cdpruner(images: Images, counts: Counts) -> torch.Tensor:
    text = images.tokens[:, :2].flip(1)
    relevance = cdpruner.question_relevance(
        images.tokens, text, images.valid, torch.ones(text.shape[:2], dtype=torch.bool)
    )
    return cdpruner.dpp_order(images.tokens, relevance, counts, images.valid)


def _dart(images: Images, counts: Counts) -> torch.Tensor:
    text = images.tokens[:, :6].flip(1)
    return dart.dart_kept(
        images.tokens, text, images.scores, text.norm(dim=-1), images.lengths, (6,) * len(counts), per_pivot=1
    )[0]


RULES: dict[str, Rule] = {
    "scope": lambda images, counts: coverage.scope_order(images.tokens, images.scores, counts, images.valid),
    "scope added": lambda images, counts: coverage.scope_order(
        images.tokens, images.scores, counts, images.valid, 2.0, "add"
    ),
    "mmtok": _mmtok,
    "vispruner": _vispruner,
    "divprune": lambda images, counts: divprune.farthest_first(images.tokens, counts, images.valid),
    "divprune published": lambda images, counts: divprune.farthest_first(images.tokens, counts, images.valid, True),
    "cdpruner": _cdpruner,
    "holov": lambda images, counts: holov.holov_order(images.tokens, images.scores, counts, images.lengths, runs=4),
    "holov published": lambda images, counts: holov.holov_order(
        images.tokens, images.scores, counts, images.lengths, runs=4, published=True
    ),
    "dart": _dart,
    "sparsevlm kept": lambda images, counts: sparsevlm.kept_and_recycled(images.scores, counts, images.lengths)[0],
    "sparsevlm recycled": lambda images, counts: sparsevlm.kept_and_recycled(images.scores, counts, images.lengths)[1],
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", RULES)
def test_a_row_is_chosen_as_it_is_alone(name: str, seed: int) -> None:
    images = draw(seed=seed)
    together = RULES[name](images, COUNTS)
    for row, (length, count) in enumerate(zip(LENGTHS, COUNTS)):
        single = RULES[name](alone(images, row), (count,))[0].tolist()
        single = [index for index in single if index < length]
        assert len(set(single)) == len(single) and single
        assert together[row].tolist() == single + [max(LENGTHS)] * (together.shape[1] - len(single))
        assert name not in ("scope", "mmtok", "vispruner", "divprune", "cdpruner", "holov") or len(single) == count


def test_an_image_of_fewer_tokens_than_all_are_asked_for() -> None:
    """Counts are per image; the longest decides the width alone."""
    images = draw((5, 40))
    order = divprune.farthest_first(images.tokens, (5, 20), images.valid)
    assert sorted(order[0].tolist()) == [0, 1, 2, 3, 4, *[40] * 15]


@pytest.mark.parametrize("seed", range(3))
def test_merged_tokens_are_those_of_the_row_alone(seed: int) -> None:
    images = draw(seed=seed)
    kept = divprune.farthest_first(images.tokens, COUNTS, images.valid).sort(dim=1).values
    merged, assignment = vscan.merge_into_kept(images.tokens, kept, COUNTS, images.valid)
    clusters = (4, 2, 3)
    groups, _ = sparsevlm.density_peaks(images.tokens, images.lengths, clusters)
    means = sparsevlm.cluster_means(images.tokens.masked_fill(~images.valid[..., None], 0), groups, max(clusters))
    for row, (length, count) in enumerate(zip(LENGTHS, COUNTS)):
        one = alone(images, row)
        single, into = vscan.merge_into_kept(one.tokens, kept[row : row + 1, :count], (count,), one.valid)
        torch.testing.assert_close(merged[row, :count], single[0], atol=1e-5, rtol=0)
        assert assignment[row].tolist() == into[0].tolist() + [-1] * (max(LENGTHS) - length)
        assert not merged[row, count:].any()
        group, _ = sparsevlm.density_peaks(one.tokens, (length,), clusters[row : row + 1])
        assert groups[row].tolist() == group[0].tolist() + [-1] * (max(LENGTHS) - length)
        assert set(group[0].tolist()) == set(range(clusters[row]))
        mean = sparsevlm.cluster_means(one.tokens, group, clusters[row])
        torch.testing.assert_close(means[row, : clusters[row]], mean[0], atol=1e-5, rtol=0)


def test_raters_of_a_row_are_those_it_has_alone() -> None:
    images, text = draw(), draw((9, 4, 7), seed=1)
    together = sparsevlm.raters(images.tokens / 9, text.tokens / 9, images.valid, text.valid)
    for row in range(3):
        one, words = alone(images, row), alone(text, row)
        single = sparsevlm.raters(one.tokens / 9, words.tokens / 9, one.valid, words.valid)
        assert together[row].tolist() == single[0].tolist() + [False] * (9 - words.lengths[0])
        assert single.any() and not single.all()


def test_late_scores_are_what_they_say() -> None:
    rows = torch.rand(2, 3, 1, 5)
    assert torch.equal(late.fastv_scores(rows), rows[:, :, 0].mean(dim=1))
    before, after = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    moved = (after - before).double()
    by_hand = [[sum(float(x) ** 2 for x in token) ** 0.5 for token in row] for row in moved]
    torch.testing.assert_close(late.v2drop_scores(after, before), torch.tensor(by_hand))
    assert [late.v2drop_kept(*pair) for pair in ((576, 0.5), (288, 0.5), (144, 0.0))] == [288, 144, 1]
    assert [late.v2drop_kept(*triple) for triple in ((144, 0.0, 0), (0, 0.5), (9, 1.0))] == [0, 0, 9]
