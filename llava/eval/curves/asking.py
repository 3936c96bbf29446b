"""A benchmark under many runs: what each of them scores on every item, and the points that come of it."""

from dataclasses import replace

from llava.eval.curves.points import Point, points_of
from llava.eval.curves.runs import Run, Unreached, answer_all, runnable
from llava.eval.judging.items import scores_of
from llava.eval.judging.opening import Benchmark, Opened
from llava.eval.judging.uncertainty import score_and_margin


def ask(
    opened: Opened, benchmark: Benchmark, runs: list[Run], batch_size: int
) -> tuple[list[Run], list[list[float]], list[Unreached]]:
    """The runs that this checkpoint can do, the scores of each for every item, and why it cannot do the others.

    The runs come back with the tokens that were counted.

    Raises:
        InputError: for a picture that cannot be read, or where not even the plain model can answer.
    """
    data = opened.prepared(benchmark)
    possible, impossible = runnable(opened.loaded, data, runs)
    done, texts = answer_all(opened.loaded, data, possible, batch_size, benchmark.limit)
    return done, [scores_of(benchmark.items, answers) for answers in texts], impossible


def judged(benchmark: Benchmark, runs: list[Run], scores: list[list[float]]) -> list[Point]:
    """The points of the runs, with the benchmark's own score where it has one that is no mean."""
    points, official = points_of(runs, scores, benchmark.records), benchmark.kind.official
    if official is None:
        return points
    found = []
    for point in points:
        own = [one for run, one in zip(runs, scores) if (run.name, run.retain) == (point.name, point.retain)]
        found.append(replace(point, official=score_and_margin(benchmark.items, own, official)))
    return found
