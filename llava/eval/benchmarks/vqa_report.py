"""The printed form that the scorers of VQAv2 and VizWiz share: overall and by kind, per cent with two digits."""

from collections.abc import Iterable

from llava.eval.results.scores import ratio


def per_cent(scores: Iterable[float]) -> float:
    """The mean of scores in 0..1 as the official evaluators give it: per cent, rounded to two digits."""
    scores = list(scores)
    return round(100 * ratio(sum(scores), len(scores)), 2)


def by_kind(kinds: Iterable[str], scores: Iterable[float]) -> dict[str, float]:
    """`per_cent` of the scores of each kind, in the order in which kinds first come."""
    groups: dict[str, list[float]] = {}
    for kind, score in zip(kinds, scores, strict=True):
        groups.setdefault(kind, []).append(score)
    return {kind: per_cent(group) for kind, group in groups.items()}


def report(overall: float, tables: dict[str, dict[str, float]]) -> str:
    """The official lines: the overall accuracy, then a table per way of sorting, named as in `Question Type`."""
    lines = [f"Overall Accuracy is: {overall:.2f}", ""]
    for name, table in tables.items():
        lines.append(f"Per {name} Accuracy is the following:")
        lines += [*(f"{kind} : {score:.2f}" for kind, score in table.items()), ""]
    return "\n".join(lines)
