"""Rules against loops over single tokens, in double precision, on lengths that no recorded case has."""

import pytest
import torch
from rule_images import draw

from llava.reduction.rules import cdpruner, coverage, divprune, hiprune, holov, tome, trim, vispruner, vscan


def cosine(tokens: torch.Tensor) -> list[list[float]]:
    unit = tokens.double() / tokens.double().norm(dim=-1, keepdim=True)
    return (unit @ unit.T).tolist()


def best(numbers: list[float], among: list[int]) -> int:
    return max(among, key=lambda index: (numbers[index], -index))


def paired_down(tokens: torch.Tensor, scores: torch.Tensor, important: int, diverse: int) -> list[int]:
    """VisPruner for one image, with the even half rounded up."""
    alike = cosine(tokens)
    falling = sorted(range(len(scores)), key=lambda index: -float(scores[index]))
    rest = falling[important:]
    while len(rest) > diverse:
        even, odd = rest[0::2], rest[1::2]
        drop = min(8, len(rest) - diverse, len(even))
        closest = {one: max((alike[one][other] for other in odd), default=0.0) for one in even}
        rest = sorted(even, key=lambda one: -closest[one])[drop:] + odd
    return sorted(falling[:important] + rest)


@pytest.mark.parametrize("length", [40, 41, 37, 8])
@pytest.mark.parametrize("counts", [(4, 4), (5, 2), (0, 7), (7, 0), (3, 1)])
def test_vispruner_on_lists_of_any_length(length: int, counts: tuple[int, int]) -> None:
    images = draw((length,), seed=length)
    kept = vispruner.important_and_diverse(images.tokens, images.scores, counts[:1], counts[1:], (length,))
    assert kept[0].tolist() == paired_down(images.tokens[0], images.scores[0], *counts)


def test_vispruner_knows_which_lists_are_odd() -> None:
    assert vispruner.odd_list(576 - 32, 32) is None
    assert vispruner.odd_list(576 - 25, 25) == 551  # the released code's IndexError at 50 tokens
    assert vispruner.odd_list(576 - 31, 0) is None  # nothing is paired where nothing diverse is asked for
    assert vispruner.odd_list(10, 1) == 5  # half of ten


@pytest.mark.parametrize(("alpha", "combined"), [(1.0, "multi"), (2.0, "multi"), (1.0, "add"), (0.5, "multi")])
def test_scope_takes_the_largest_gain(alpha: float, combined: str) -> None:
    images = draw((40,), seed=3)
    alike, weight = cosine(images.tokens[0]), [float(score) ** alpha for score in images.scores[0]]
    reached, chosen = [0.0] * 40, []
    for _ in range(15):
        gain = [sum(max(0.0, alike[row][token] - reached[row]) for row in range(40)) for token in range(40)]
        gain = [g * w if combined == "multi" else g + w for g, w in zip(gain, weight)]
        chosen.append(best(gain, [token for token in range(40) if token not in chosen]))
        reached = [max(old, alike[chosen[-1]][row]) for row, old in enumerate(reached)]
    order = coverage.scope_order(images.tokens, images.scores, (15,), images.valid, alpha, combined)
    assert order[0].tolist() == chosen


def test_divprune_takes_the_farthest() -> None:
    images = draw((40,), seed=4)
    far = [[1 - one for one in row] for row in cosine(images.tokens[0])]
    chosen = [best([sorted(row)[1] for row in far], list(range(40)))]
    while len(chosen) < 20:
        nearest = [min(far[one][token] for one in chosen) for token in range(40)]
        chosen.append(best(nearest, [token for token in range(40) if token not in chosen]))
    order = divprune.farthest_first(images.tokens, (20,), images.valid)
    assert order[0].tolist() == chosen


def test_cdpruner_takes_what_adds_most_to_the_determinant() -> None:
    images = draw((20,), seed=5)
    unit = images.tokens[0].double() / images.tokens[0].double().norm(dim=-1, keepdim=True)
    weighted = unit * images.scores[0].double()[:, None]
    kernel, chosen = weighted @ weighted.T, []
    for _ in range(8):
        left = [token for token in range(20) if token not in chosen]
        volumes = {token: float(torch.linalg.det(kernel[[*chosen, token]][:, [*chosen, token]])) for token in left}
        chosen.append(max(left, key=lambda token: volumes[token]))
    order = cdpruner.dpp_order(images.tokens, images.scores, (8,), images.valid)
    assert order[0].tolist() == chosen


def test_holov_weighs_runs_by_attention_and_unevenness() -> None:
    images, runs, alpha = draw((22,), seed=6), 4, 0.5
    places, sizes = holov.run_places((22,), runs, torch.device("cpu"))
    assert sizes.tolist() == [[6, 6, 5, 5]]
    assert [[at for at in run if at < 22] for run in places[0].tolist()] == [
        list(range(0, 6)),
        list(range(6, 12)),
        list(range(12, 17)),
        list(range(17, 22)),
    ]
    alike, scores = cosine(images.tokens[0]), images.scores[0].tolist()
    weights = []
    for run in (range(0, 6), range(6, 12), range(12, 17), range(17, 22)):
        rows = [[alike[i][j] if i != j else 0.0 for j in run] for i in run]
        means = [sum(row) / (len(run) - 1) for row in rows]
        uneven = [sum((x - m) ** 2 for x in row) / (len(run) - 1) for row, m in zip(rows, means)]
        attended = [1000 * scores[i] for i in run]
        scale = (sum(attended) / len(run)) / (sum(uneven) / len(run) + 1e-6)
        weights.append(sum(a + alpha * v * scale for a, v in zip(attended, uneven)) / len(run))
    got = holov.run_weights(images.tokens, images.scores, places, sizes, alpha)
    torch.testing.assert_close(got[0].double(), torch.tensor(weights).double() / sum(weights), atol=1e-5, rtol=0)


def test_hiprune_takes_anchors_neighbours_and_the_best_of_the_rest() -> None:
    images = draw((36, 36), seed=7)
    middle, late = images.scores, images.scores.flip(1)
    kept, anchors = hiprune.hiprune_kept(middle, late, 20, side=6, alpha=0.5)
    for row in range(2):
        top = sorted(range(36), key=lambda at: -float(middle[row, at]))[:2]
        near = {min(35, max(0, at + step)) for at in top for step in (0, -1, 1, -6, 6)}
        rest = sorted(set(range(36)) - near, key=lambda at: -float(late[row, at]))
        assert anchors[row].tolist() == top
        assert kept[row].tolist() == sorted([*near, *rest[: 20 - len(near)]])
    # More neighbours than places: anchors come first.
    few, anchors = hiprune.hiprune_kept(middle, late, 4, side=6, alpha=4.0)
    assert few.shape == (2, 4) and all(set(some) >= set(a) for some, a in zip(few.tolist(), anchors.tolist()))


def test_vscan_takes_the_best_of_every_window() -> None:
    early, late = draw((64, 64), seed=8).scores, draw((64, 64), seed=9).scores
    kept = vscan.vscan_kept(early, late, 40, side=8)
    corners = [row * 8 + column for row in range(0, 8, 2) for column in range(0, 8, 2)]
    windows = [[corner, corner + 1, corner + 8, corner + 9] for corner in corners]
    for image in range(2):
        local = {max(window, key=lambda at: float(early[image, at])) for window in windows}
        rest = sorted(set(range(64)) - local, key=lambda at: -float(late[image, at]))
        assert kept[image].tolist() == sorted([*local, *rest[:24]])


def test_tome_means_are_weighted_by_size_and_cls_stays() -> None:
    tokens, sizes = draw((9,), width=3, seed=10).tokens, torch.tensor([[1.0, 2, 1, 3, 1, 1, 5, 1, 1]])
    match = tome.match_pairs(tokens, 2)
    merged, new_sizes = tome.merge_pairs(tokens, sizes, match)
    alike = cosine(tokens[0])
    target = {even: max((1, 3, 5, 7), key=lambda odd: alike[even][odd]) for even in (2, 4, 6, 8)}
    gone = sorted(target, key=lambda even: -alike[even][target[even]])[:2]
    stay = [even for even in (0, 2, 4, 6, 8) if even not in gone]
    groups = [[even] for even in stay] + [[odd, *(one for one in gone if target[one] == odd)] for odd in (1, 3, 5, 7)]
    by_hand = [sum(tokens[0, t] * sizes[0, t] for t in group) / sum(sizes[0, t] for t in group) for group in groups]
    torch.testing.assert_close(merged[0], torch.stack(by_hand))
    assert new_sizes[0].tolist() == [sum(float(sizes[0, t]) for t in group) for group in groups]


def test_trim_keeps_outliers_and_the_mean_of_all_others() -> None:
    image, text = draw((40, 40), seed=11).tokens, torch.randn(2, 24)
    scores = trim.trim_scores(image, text)
    by_hand = (-(image.double() * text.double()[:, None]).sum(dim=-1)).softmax(dim=-1)
    torch.testing.assert_close(scores.double(), by_hand, atol=1e-6, rtol=0)
    scores = torch.full((2, 40), 0.01) + torch.arange(40) * 1e-5
    scores[0, [7, 3]] = 1.0
    kept, counts = trim.trim_kept(scores)
    assert counts == (2, 0) and kept.tolist() == [[3, 7], [40, 40]]
    others = [at for at in range(40) if at not in (3, 7)]
    mean = trim.mean_of_others(image, kept)
    torch.testing.assert_close(mean[:, 0], torch.stack([image[0, others].mean(dim=0), image[1].mean(dim=0)]))
    assert trim.trim_kept(scores, 0.25)[1] == (10, 10)
