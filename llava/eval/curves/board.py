"""A leaderboard as tables in Markdown and as a picture: what was measured first, what papers print after it, apart."""

from dataclasses import dataclass
from typing import Any

from llava.eval.curves.beyond import CONTROL, Beyond
from llava.eval.curves.points import Point
from llava.eval.curves.published_numbers import FAMILIES, SOURCE, Family
from llava.eval.curves.report import ABSENT, header, in_full, official_cell, row, with_margin
from llava.eval.curves.runs import BLIND, Unreached
from llava.eval.results.table import UNREDUCED


@dataclass(frozen=True)
class Board:
    """A benchmark under every method.

    Attributes:
        questions, pictures: how many were asked.
        points: every method and budget; beyond: the same on questions that the control gets wrong.
        unreached: what could not be run, and why.
        metric: what is measured; official_name: what the benchmark's own score is called, where that is no mean.
    """

    name: str
    questions: int
    pictures: int
    points: list[Point]
    beyond: list[Beyond]
    unreached: list[Unreached]
    metric: str = "right answers, %"
    official_name: str = ""


def as_markdown(boards: list[Board], about: dict[str, Any]) -> str:
    """All tables. `about`: the model, and how it was run."""
    lines = []
    for board in boards:
        lines += [
            f"## {board.name}: {board.questions} questions about {board.pictures} pictures, {about['model']}",
            "",
            f"{board.metric.capitalize()} ± half of the 95 % interval, by average image tokens per LLM layer.",
            "",
            *ranked(board),
            "",
            *_own_score(board),
            f"Of the questions that `{CONTROL}` gets wrong at the same budget, % ± the same:",
            "",
            *beyond_table(board),
            "",
            *in_full(board.points),
            "",
            *(f"{one.name} at {one.retain} is not there: {one.reason}" for one in board.unreached),
            "",
        ]
    lines += ["## As published", "", f"{SOURCE}.", "Budgets are what tables call them.", ""]
    for family in FAMILIES:
        lines += [f"Published, {family.title}:", "", *published_table(family), ""]
    return "\n".join(lines)


def ranked(board: Board) -> list[str]:
    """Methods down, the best at the largest budget first; budgets across."""
    found = {(point.name, point.retain): (point.accuracy, point.margin) for point in board.points}
    budgets = _budgets(board)
    lines = header(["method", "all tokens", *(f"{budget} tokens" for budget in budgets)])
    for name in _order(board):
        cells = [found.get((name, budget)) for budget in (None, *budgets)]
        lines.append(row([name, *(with_margin(*cell) if cell else ABSENT for cell in cells)]))
    return lines


def beyond_table(board: Board) -> list[str]:
    """The same of the questions that the control gets wrong."""
    found = {(one.name, one.retain): one for one in board.beyond}
    budgets = [budget for budget in _budgets(board) if any(retain == budget for _, retain in found)]
    asked = {one.retain: one.asked for one in board.beyond}
    lines = header(["method", *(f"{budget} tokens, {asked[budget]} questions" for budget in budgets)])
    for name in _order(board):
        cells = [found.get((name, budget)) for budget in budgets]
        if any(cells):
            texts = (with_margin(cell.accuracy, cell.margin) if cell else ABSENT for cell in cells)
            lines.append(row([name, *texts]))
    return lines


def published_table(family: Family) -> list[str]:
    """A family's rows, each cell its benchmarks one after the other."""
    budgets = sorted({budget for rows in family.rows.values() for budget in rows}, reverse=True)
    columns = " / ".join(family.columns)
    lines = header(["method (published)", *(f'"{budget}": {columns}' for budget in budgets)])
    for name, rows in family.rows.items():
        cells = [
            " / ".join(ABSENT if value is None else f"{value:g}" for value in rows[budget])
            if budget in rows
            else ABSENT
            for budget in budgets
        ]
        lines.append(row([name, *cells]))
    return lines


def _own_score(board: Board) -> list[str]:
    """The benchmark's own score, where it has one that is no mean."""
    found = {(point.name, point.retain): point for point in board.points if point.official}
    if not found:
        return []
    budgets = _budgets(board)
    lines = [f"The benchmark's own score, {board.official_name}:", ""]
    lines += header(["method", "all tokens", *(f"{budget} tokens" for budget in budgets)])
    for name in _order(board):
        cells = [found.get((name, budget)) for budget in (None, *budgets)]
        lines.append(row([name, *(official_cell(cell) if cell else ABSENT for cell in cells)]))
    return [*lines, ""]


def _budgets(board: Board) -> list[int]:
    return sorted({point.retain for point in board.points if point.retain is not None}, reverse=True)


def _order(board: Board) -> list[str]:
    """Names: the plain model and the blind first, then by accuracy at the largest budget at which a method was run."""
    best: dict[str, tuple[int, float]] = {}
    for point in board.points:
        key = (point.retain or 0, point.accuracy)
        best[point.name] = max(best.get(point.name, key), key)
    first = [name for name in (UNREDUCED, BLIND) if name in best]
    return first + sorted((name for name in best if name not in first), key=lambda name: best[name], reverse=True)
