"""How far a benchmark's own score may be off: it is no mean, so groups of pictures are left out in turn."""

from collections.abc import Callable, Sequence
from math import sqrt

from llava.eval.judging.items import Item

GROUPS = 20
NORMAL_95 = 1.96  # standard errors to either side that hold 95 % of a normal distribution


def score_and_margin(
    items: Sequence[Item],
    scored: Sequence[Sequence[float]],
    official: Callable[[Sequence[Item], Sequence[float]], float],
) -> tuple[float, float | None]:
    """The mean of `official` over runs, and half of its 95 % interval by a jackknife over groups of pictures.

    Pictures are dealt out to the groups in turn, so that each has some of every category. The interval is None where
    there are too few for that: leaving out a group would leave out a category.

    Args:
        scored: of each run, the score of every item.
    """
    whole = _mean(items, scored, official)
    pictures = {name: number for number, name in enumerate(dict.fromkeys(item.image for item in items))}
    group = [pictures[item.image] % GROUPS for item in items]
    categories = {item.category for item in items}
    found = []
    for number in range(GROUPS):
        left = [at for at, own in enumerate(group) if own != number]
        if {items[at].category for at in left} != categories or len(left) == len(items):
            return whole, None
        found.append(_mean([items[at] for at in left], [[scores[at] for at in left] for scores in scored], official))
    middle = sum(found) / GROUPS
    variance = (GROUPS - 1) / GROUPS * sum((one - middle) ** 2 for one in found)
    return whole, NORMAL_95 * sqrt(variance)


def _mean(
    items: Sequence[Item],
    scored: Sequence[Sequence[float]],
    official: Callable[[Sequence[Item], Sequence[float]], float],
) -> float:
    return sum(official(items, scores) for scores in scored) / len(scored)
