"""A leaderboard as a picture."""

from typing import Any

from llava.eval.curves.board import Board
from llava.eval.curves.report import CONTROLS
from llava.eval.curves.runs import BLIND
from llava.eval.pictures.figure import new_figure, save
from llava.eval.results.table import UNREDUCED


def draw_board(board: Board, path: str, model: str) -> None:
    """A panel for every budget: methods by accuracy, with 95 % intervals, controls and VisionDrop marked; a PNG."""
    budgets = sorted({point.retain for point in board.points if point.retain is not None}, reverse=True)
    panels = [sorted((p for p in board.points if p.retain == budget), key=lambda p: p.accuracy) for budget in budgets]
    tallest = max([len(panel) for panel in panels], default=1)
    figure = new_figure(3.2 * max(1, len(budgets)), 1.2 + 0.24 * tallest)
    grid: list[Any] = list(figure.subplots(1, max(1, len(budgets)), sharex=True, squeeze=False)[0])
    for axes, budget, panel in zip(grid, budgets, panels):
        for whole, style in ((UNREDUCED, "-"), (BLIND, ":")):
            for point in board.points:
                if point.name == whole:
                    axes.axvline(point.accuracy, color="black", linewidth=1, linestyle=style)
        places = range(tallest - len(panel), tallest)
        for place, point in zip(places, panel):
            colour, marker = looks_of(point.name)
            axes.errorbar(point.accuracy, place, xerr=point.margin, fmt=marker, color=colour, markersize=4, capsize=2)
        axes.set_yticks(places, [point.name for point in panel], fontsize="small")
        for label in axes.get_yticklabels():
            label.set_color(looks_of(label.get_text())[0])
        axes.set(title=f"{budget} tokens", xlabel=board.metric, ylim=(-1, tallest))
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(
        f"{model}, {board.name}: {board.questions} questions; line: all tokens, dots: blind; orange squares: controls"
    )
    save(figure, path)


def looks_of(method: str) -> tuple[str, str]:
    """A method's colour and mark: the project's own stands out, and so do the controls."""
    if method in CONTROLS:
        return "C1", "s"
    return ("C0", "D") if method == "visiondrop" else ("0.25", "o")
