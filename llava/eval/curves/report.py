"""An accuracy curve as tables in Markdown, as JSON and as a picture."""

import json
from dataclasses import asdict
from typing import Any

from llava.eval.curves.points import Point
from llava.eval.curves.runs import BLIND, Unreached
from llava.eval.pictures.figure import colour_of, new_figure, save
from llava.eval.results.table import UNREDUCED

ABSENT = "-"
CONTROLS = ("downsample", "pool", "random")  # what a method must be above to have shown anything


def as_json(points: list[Point], unreached: list[Unreached], about: dict[str, Any]) -> str:
    """Everything that was measured, for programs. `about` says on what."""
    return json.dumps(
        about | {"points": list(map(asdict, points)), "unreached": list(map(asdict, unreached))}, indent=1
    )


def markdown(points: list[Point], unreached: list[Unreached]) -> str:
    """Two tables, accuracy by method and budget and all about each point, and a line for what was not reached."""
    lines = [*by_budget(points), "", *in_full(points)]
    lines += [f"\n{one.name} at {one.retain} is not there: {one.reason}" for one in unreached]
    return "\n".join(lines) + "\n"


def by_budget(points: list[Point]) -> list[str]:
    """Methods down, budgets across, per cent with half of the 95 % interval."""
    budgets = sorted({point.retain for point in points if point.retain is not None}, reverse=True)
    found = {(point.name, point.retain): point for point in points}
    lines = header(["method", "all tokens", *(f"{budget} tokens" for budget in budgets)])
    for name in dict.fromkeys(point.name for point in points):
        cells = [found.get((name, budget)) for budget in (None, *budgets)]
        lines.append(row([name, *(with_margin(point.accuracy, point.margin) if point else ABSENT for point in cells)]))
    return lines


def in_full(points: list[Point]) -> list[str]:
    """A row for every point: its real average of tokens, every kind of question, the distance from `random`."""
    kinds = list(points[0].kinds) if points else []
    own = ["own score"] if any(point.official for point in points) else []
    lines = header(["method", "tokens", "accuracy", *own, *kinds, "above random", "right of asked"])
    for point in points:
        lines.append(
            row(
                [
                    point.name,
                    f"{point.tokens:.1f}",
                    f"{point.accuracy:.1f}",
                    *(official_cell(point) for _ in own),
                    *(f"{point.kinds[kind]:.1f}" for kind in kinds),
                    with_margin(*point.above, sign="+") if point.above else ABSENT,
                    f"{', '.join(map(str, point.right))} of {point.asked}",
                ]
            )
        )
    return lines


def official_cell(point: Point) -> str:
    """The benchmark's own score; its margin where there are pictures enough for one."""
    value, margin = point.official or (0.0, None)
    return ABSENT if point.official is None else f"{value:.1f}" if margin is None else with_margin(value, margin)


def with_margin(value: float, margin: float, sign: str = "") -> str:
    """`81.2 ± 3.6`."""
    return f"{value:{sign}.1f} ± {margin:.1f}"


def row(cells: list[str]) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def header(cells: list[str]) -> list[str]:
    """The first two lines of such a table, whose first column is text and whose others are numbers."""
    return [row(cells), row(["---", *["--:"] * (len(cells) - 1)])]


def draw(points: list[Point], path: str, title: str, metric: str = "right answers, %") -> None:
    """Accuracy against average image tokens, a line for every method, with 95 % intervals; a PNG."""
    figure = new_figure(9, 4.6)
    axes: Any = figure.subplots()
    styles = {UNREDUCED: ("-", "all tokens"), BLIND: ("--", "blind: the picture blanked")}
    for point in points:
        if point.name in styles:
            dashes, label = styles[point.name]
            label = f"{label}, {point.accuracy:.1f} %"
            axes.axhline(point.accuracy, color="black", linewidth=1, linestyle=dashes, label=label)
            edges = (point.accuracy - point.margin, point.accuracy + point.margin)
            axes.axhspan(*edges, color="black", alpha=0.08, linewidth=0)
    curves = dict.fromkeys(point.name for point in points if point.name not in styles)
    for number, name in enumerate(curves):
        # Methods at the same budget stand side by side: their error bars would hide each other.
        aside = 1 + 0.02 * (number - (len(curves) - 1) / 2)
        line = sorted((point.tokens, point.accuracy, point.margin) for point in points if point.name == name)
        tokens, accuracy, margin = zip(*line)
        axes.errorbar(
            [aside * count for count in tokens], accuracy, yerr=margin, label=name, color=colour_of(name),
            marker="s" if name in CONTROLS else "o", linestyle=":" if name in CONTROLS else "-",
            capsize=3, markersize=5,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    ticks = sorted({point.retain for point in points if point.retain is not None})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="average image tokens per LLM layer", ylabel=metric, title=title)
    axes.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")  # beside the axes, where no line runs
    save(figure, path)
