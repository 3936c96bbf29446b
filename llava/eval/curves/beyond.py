"""What a method still sees that a smaller picture does not: accuracy on the questions that the control gets wrong.

Most questions of a benchmark can be answered from a small picture. Where `downsample` at the same budget is right, a
method shows nothing by being right too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llava.eval.curves.points import Scores, mean_and_margin
from llava.eval.curves.runs import Run
from llava.eval.judging.items import RIGHT
from llava.eval.results.scores import ratio

CONTROL = "downsample"


@dataclass(frozen=True)
class Beyond:
    """One method at one budget, of the questions that the control at this budget gets wrong. Accuracy in per cent.

    `margin`: half of its 95 % interval, from the spread between pictures.
    """

    name: str
    retain: int
    accuracy: float
    margin: float
    asked: int


def beyond_control(runs: list[Run], right: Scores, images: list[str]) -> list[Beyond]:
    """For every method and budget at which the control was run and gets something wrong; seeds are averaged.

    Args:
        right: of each run, for every question, its score, 0 to 1, or whether it was answered right. The control gets
            wrong what is below a half.
        images: of every question, its picture.
    """
    seeds: dict[tuple[str, int | None], list[Sequence[float]]] = {}
    for run, answers in zip(runs, right):
        seeds.setdefault((run.name, run.retain), []).append(answers)
    found = []
    for (name, retain), answered in seeds.items():
        [control] = seeds.get((CONTROL, retain), [[]])
        wrong = [at for at, hit in enumerate(control) if hit < RIGHT]
        if retain is None or name == CONTROL or not wrong:
            continue
        scores = [ratio(sum(answers[at] for answers in answered), len(answered)) for at in wrong]
        accuracy, margin = mean_and_margin(scores, [images[at] for at in wrong])
        found.append(Beyond(name, retain, accuracy, margin, len(wrong)))
    return found
