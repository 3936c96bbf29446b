"""From scores, right and wrong or softer ones, to the points of a curve with their uncertainty. No model, no file."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from llava.eval.curves.runs import Run
from llava.eval.judging.uncertainty import NORMAL_95
from llava.eval.results.scores import ratio

Scores = Sequence[Sequence[float]]  # of each run, for every question


@dataclass(frozen=True)
class Point:
    """One method at one budget, all seeds together. Accuracies are per cent.

    Attributes:
        name, retain, tokens: as in `Run`.
        accuracy: the mean over seeds.
        margin: half of the 95 % interval of `accuracy`; from the spread between pictures.
        right: right answers of each seed; where scores are soft, their sum.
        asked: questions of each seed.
        kinds: accuracy by kind of question.
        above: by how much it is above the method `random` at this budget, and half of that difference's 95 % interval;
            None where that was not run.
        official: the benchmark's own score and half of its 95 % interval, where it is no mean; see
            `llava.eval.judging.uncertainty`.
    """

    name: str
    retain: int | None
    tokens: float
    accuracy: float
    margin: float
    right: list[float]
    asked: int
    kinds: dict[str, float]
    above: tuple[float, float] | None = None
    official: tuple[float, float | None] | None = None


def points_of(runs: list[Run], right: Scores, truth: list[dict[str, Any]]) -> list[Point]:
    """Points in the order of the runs.

    Args:
        right: of each run, for every question, its score, 0 to 1, or whether it was answered right.
        truth: the questions' records, with `image` and `category`.
    """
    seeds: dict[tuple[str, int | None], list[int]] = defaultdict(list)
    for number, run in enumerate(runs):
        seeds[run.name, run.retain].append(number)
    images = [record["image"] for record in truth]
    means = {key: [ratio(sum(column), len(column)) for column in zip(*(right[number] for number in numbers))]
             for key, numbers in seeds.items()}  # fmt: skip
    points = []
    for (name, retain), numbers in seeds.items():
        scores, control = means[name, retain], means.get(("random", retain))
        accuracy, margin = mean_and_margin(scores, images)
        above = None
        if control is not None and name != "random":
            above = mean_and_margin([one - other for one, other in zip(scores, control)], images)
        kinds: dict[str, float] = {}
        for number in numbers:
            for kind, own in by_kind(truth, right[number]).items():
                kinds[kind] = kinds.get(kind, 0.0) + 100 * ratio(sum(own), len(own)) / len(numbers)
        totals = [_whole(sum(right[number])) for number in numbers]
        tokens = runs[numbers[0]].tokens
        points.append(Point(name, retain, tokens, accuracy, margin, totals, len(truth), kinds, above))
    return points


def by_kind(truth: list[dict[str, Any]], scores: Sequence[float]) -> dict[str, list[float]]:
    """The scores of each kind of question, in the order in which kinds first come."""
    kinds: dict[str, list[float]] = {}
    for record, score in zip(truth, scores, strict=True):
        kinds.setdefault(record["category"], []).append(score)
    return kinds


def _whole(total: float) -> float:
    """A count of right answers as a whole number; a sum of soft scores to three places."""
    return int(total) if float(total).is_integer() else round(total, 3)


def mean_and_margin(scores: list[float], images: list[str]) -> tuple[float, float]:
    """Mean of scores in per cent, and half of its 95 % interval.

    Questions about one picture are no independent trials (one bad choice of tokens spoils all of them), so the
    standard error is that of the sums over pictures.
    """
    count = len(scores)
    mean = ratio(sum(scores), count)
    groups: dict[str, float] = defaultdict(float)
    for image, score in zip(images, scores, strict=True):
        groups[image] += score - mean
    variance = ratio(len(groups), len(groups) - 1) * sum(total**2 for total in groups.values())
    return 100 * mean, 100 * NORMAL_95 * ratio(sqrt(variance), count)
