"""Where released code misbehaves: `published` does as it does, and what is mended is mended."""

import pytest
import torch
from conftest import PARITY
from rule_images import draw
from safetensors.torch import load_file

from llava.errors import InputError
from llava.reduction.rules import cdpruner, dart, divprune, holov, prumerge, prunesid, sparsevlm, vscan

PACK = PARITY / "methods"


def test_holov_wastes_places_of_full_runs_as_published_and_shares_them_out_as_mended() -> None:
    given = load_file(PACK / "holov-192-overflow.safetensors")
    tokens, attention = given["full_image_features"][None], given["vision.score"]
    published = holov.holov_order(tokens, attention, (192,), (576,), published=True)
    wanted = given["vision.kept"].long()
    assert torch.equal(published, torch.where(wanted < 0, 576, wanted)) and int((published == 576).sum()) == 8

    places, sizes = holov.run_places((576,), 16, attention.device)
    weights = holov.run_weights(tokens, attention, places, sizes, 0.09)
    assert torch.equal(holov.quotas(weights, sizes, (192,), published=True), given["vision.allocated"].long())
    shared = holov.quotas(weights, sizes, (192,), published=False)
    assert int(shared.sum()) == 192 and bool((shared <= sizes).all())
    assert bool((shared >= given["vision.allocated"].long()).all())

    mended = holov.holov_order(tokens, attention, (192,), (576,))[0].tolist()
    assert len(set(mended)) == 192 and mended == sorted(mended) and mended[-1] < 576
    assert set(mended) > set(published[0].tolist()) - {576}


@pytest.mark.parametrize("seed", range(20))
def test_holov_shares_out_in_proportion_and_fills_up(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(4, 16, generator=generator) ** (1 + seed % 8)
    weights = weights / weights.sum(dim=1, keepdim=True)
    sizes = torch.randint(1, 40, (4, 16), generator=generator)
    counts = tuple(int(total * share) or 1 for total, share in zip(sizes.sum(dim=1).tolist(), (0.1, 0.5, 0.9, 1.0)))
    given = holov.quotas(weights, sizes, counts, published=False)
    assert given.sum(dim=1).tolist() == list(counts) and bool((given <= sizes).all()) and bool((given >= 0).all())
    for row in range(4):  # runs with room are within a token of one common share of their weights
        room = [at for at in range(16) if given[row, at] < sizes[row, at]]
        level = [(float(given[row, at]), float(weights[row, at])) for at in room]
        if level:
            rate = sum(g for g, _ in level) / sum(w for _, w in level)
            assert all(abs(g - rate * w) <= 1.01 for g, w in level)


def test_divprune_takes_no_token_twice() -> None:
    tokens = torch.eye(4)[torch.tensor([[0, 0, 1, 1, 2, 3]])]
    valid = torch.ones(1, 6, dtype=torch.bool)
    published = divprune.farthest_first(tokens, (6,), valid, published=True)[0].tolist()
    mended = divprune.farthest_first(tokens, (6,), valid)[0].tolist()
    assert len(set(published)) < 6 and sorted(mended) == list(range(6)) and published[:4] == mended[:4]


def test_cdpruner_goes_on_by_relevance_where_the_rank_is_used_up() -> None:
    images = draw((40,), width=4, seed=1)
    order = cdpruner.dpp_order(images.tokens, images.scores, (12,), images.valid)[0].tolist()
    assert len(set(order)) == 12
    first = cdpruner.dpp_order(images.tokens, images.scores, (4,), images.valid)[0].tolist()
    others = sorted(set(range(40)) - set(first), key=lambda at: -float(images.scores[0, at]))
    assert order == first + others[:8]


def test_cdpruner_scales_relevance_by_row_or_over_all_views() -> None:
    images = draw((20, 20), seed=2)
    text, there = torch.randn(2, 1, 24), torch.ones(2, 1, dtype=torch.bool)
    own = cdpruner.question_relevance(images.tokens, text, images.valid, there)
    shared = cdpruner.question_relevance(images.tokens, text, images.valid, there, (len(images.tokens),))
    assert own.amin(dim=1).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert own.amax(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert float(shared.min()) == pytest.approx(0, abs=1e-5) and float(shared.max()) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(own, shared)
    alike = torch.ones(1, 5, 24)  # a picture of one colour: no division by zero
    assert cdpruner.question_relevance(alike, text[:1], torch.ones(1, 5, dtype=torch.bool), there[:1]).isfinite().all()


def test_dart_pivots_take_turns_by_norm_as_mended_and_by_a_set_as_published() -> None:
    images, text = draw((60,), seed=3), draw((9,), seed=4)
    arguments = (images.tokens, text.tokens, images.scores, text.scores, (60,), (9,), 3)
    unit = torch.cat([images.tokens[0], text.tokens[0]]).double()
    unit = unit / unit.norm(dim=-1, keepdim=True)
    pivots = images.scores[0].topk(4).indices.tolist() + [60 + at for at in text.scores[0].topk(4).indices.tolist()]

    def by_hand(turns: list[int]) -> list[int]:
        kept = set(pivots[:4])
        for pivot in turns:
            free = [at for at in range(60) if at not in kept]
            kept |= set(sorted(free, key=lambda at: float(unit[at] @ unit[pivot]))[:3])
        return sorted(kept)

    kept, counts = dart.dart_kept(*arguments)
    assert kept[0].tolist() == by_hand(pivots) and counts == (28,)
    for start in (0, 35, 100):
        place = {start + pivot: pivot for pivot in pivots}
        kept, _ = dart.dart_kept(*arguments, starts=(start,))
        assert kept[0].tolist() == by_hand([place[at] for at in set(list(place))])


def test_dart_with_little_text_and_small_images() -> None:
    images, text = draw((10, 40), seed=5), draw((2, 6), seed=6)
    kept, counts = dart.dart_kept(
        images.tokens, text.tokens, images.scores, text.scores, images.lengths, text.lengths, per_pivot=2
    )
    assert counts == (10, 20) and kept[0].tolist() == [*range(10), *[40] * 10]
    assert [dart.taken_per_pivot(budget) for budget in (192, 128, 64, 576 * (1 - 0.667))] == [24, 16, 8, 23]


def test_sparsevlm_without_noise_agrees_with_what_was_recorded() -> None:
    """At the second stage two tokens have equal densities: some order must decide, and none of them is wrong."""
    given = load_file(PACK / "sparsevlm-64.safetensors")
    start = int((given["input_ids"] < 0).nonzero()[0, 0])
    for stage in (1, 2, 3):
        scores, kept = given[f"stage{stage}.score"][None], given[f"stage{stage}.kept"].long()
        length = scores.shape[1]
        best, recycled = sparsevlm.kept_and_recycled(scores, (len(kept),), (length,))
        assert torch.equal(best[0], kept) and torch.equal(recycled[0], given[f"stage{stage}.merge_candidates"].long())
        tokens = given[f"stage{stage}.hidden_in"][None, start : start + length].take_along_dim(recycled[..., None], 1)
        taken, clusters = sparsevlm.recycled_counts(length - len(kept))
        assert taken == recycled.shape[1] and clusters == len(given[f"stage{stage}.merged"])
        groups, _ = sparsevlm.density_peaks(tokens, (taken,), (clusters,))
        merged = sparsevlm.cluster_means(tokens, groups, clusters)
        torch.testing.assert_close(merged[0], given[f"stage{stage}.merged"], atol=1e-4, rtol=0)


def test_sparsevlm_ties_are_broken_by_place_or_by_seeded_noise() -> None:
    """Two pairs: each token is its neighbour's nearest, so the two of a pair are equally dense."""
    tokens = torch.tensor([[[0.0, 0], [0.5, 0], [5, 5], [5.25, 5]]])
    groups, centres = sparsevlm.density_peaks(tokens, (4,), (2,))
    assert groups.tolist() == [[1, 1, 0, 0]] and groups[0, centres[0]].tolist() == [0, 1]

    def noisy(seed: int) -> list:
        crowd = draw((40,), width=2, seed=3).tokens.round()  # many equals
        return sparsevlm.density_peaks(crowd, (40,), (5,), seed)[0].tolist()

    assert noisy(7) == noisy(7) and any(noisy(seed) != noisy(7) for seed in range(5))


def test_prunesid_depends_on_its_seed_and_on_nothing_else() -> None:
    hidden, scores = draw((90, 90), width=48, seed=7).tokens, draw((90, 90), seed=8).scores
    before = torch.get_rng_state()
    groups = [prunesid.component_groups(hidden, 8, seed) for seed in (0, 0, 1, None)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(groups[0], groups[1]) and not torch.equal(groups[0], groups[2])
    assert torch.equal(groups[0][1:], prunesid.component_groups(hidden[1:], 8, 0))
    for grouping in groups:
        order = prunesid.prunesid_order(hidden, scores, grouping, 32)
        assert order.shape == (2, 31) and all(len(set(row)) == 31 for row in order.tolist())
    centred = hidden.sigmoid().transpose(1, 2)
    centred = centred - centred.mean(dim=1, keepdim=True)
    exact = torch.linalg.svd(centred.double()).Vh[:, :8].abs().argmax(dim=1)
    assert torch.equal(groups[3], exact)


def test_prunesid_budgets_add_up() -> None:
    sizes = torch.tensor([[30, 20, 10, 4, 0, 0], [64, 0, 0, 0, 0, 0], [11, 11, 11, 11, 10, 10]])
    winners = torch.tensor([[3, 9, 1, 4, 0, 0], [1, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]])
    given = prunesid.group_budgets(sizes, winners, 32, length=64)
    assert given.sum(dim=1).tolist() == [31, 31, 31] and bool((given <= sizes).all())
    assert bool((given >= sizes.clamp(max=1)).all())


def test_vscan_keeps_as_many_as_asked_for_as_mended() -> None:
    early, late = draw((576,), seed=9).scores, draw((576,), seed=10).scores
    for count, published in ((48, 40), (80, 72), (96, 96), (50, 41)):
        assert vscan.vscan_kept(early, late, count, 24, published=True).shape == (1, published)
        mended = vscan.vscan_kept(early, late, count, 24)
        assert mended.shape == (1, count)
        assert set(mended[0].tolist()) >= set(vscan.vscan_kept(early, late, count, 24, published=True)[0].tolist())


def test_prumerge_counts_outliers_of_each_image_or_of_all_as_published() -> None:
    scores = torch.full((2, 40), 0.01) + torch.arange(40) * 1e-5
    scores[0, [5, 30]], scores[0, 9] = 1.0, 2.0
    assert prumerge.prumerge_order(scores)[1] == (3, 1)
    order, counts = prumerge.prumerge_order(scores[:1], plus=True)
    assert order[0].tolist() == [9, 5, 30, *range(0, 39, 4)] and counts == (13,)  # a step of int(int(40 / 3) / 3)
    assert prumerge.prumerge_order(scores, published=True)[1] == (1, 1)  # 3 of 80
    assert prumerge.prumerge_order(scores[1:], published=True)[1] == (0,)
    with pytest.raises(InputError, match="needs outliers, a third of the patches at most: got a share of 0, where"):
        prumerge.prumerge_order(scores[1:], plus=True, published=True)
    with pytest.raises(InputError, match="got a share of 0.4"):
        prumerge.prumerge_order(scores, share=0.4, plus=True, published=True)
    assert prumerge.prumerge_order(scores, share=0.4, plus=True)[1] == (40, 40)  # a step of one
