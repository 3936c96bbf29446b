"""Methods measured later beside those of an earlier leaderboard. No model, no file."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from llava.errors import InputError, shown
from llava.eval.curves.beyond import CONTROL
from llava.eval.curves.board import Board
from llava.eval.curves.runs import BLIND
from llava.eval.results.table import UNREDUCED

SAME = ("questions", "pictures", "metric", "official_name")


def check_joined(methods: Iterable[str]) -> None:
    """What was measured twice is what tells whether two runs can stand in one table.

    Raises:
        InputError: where the methods asked now are not among them the plain model and the control.
    """
    lacking = " and ".join(name for name in (UNREDUCED, CONTROL) if name not in methods)
    if lacking:
        raise InputError(f"--join compares what both runs measured: --methods lacks {lacking}; add {lacking}")


def join_boards(
    before: list[Board], now: list[Board], abouts: Sequence[dict[str, Any]], names: list[str]
) -> list[Board]:
    """The boards of both runs as one.

    Args:
        abouts: what is said of the model by the earlier run and by this one.
        names: methods in the order of the table.

    Raises:
        InputError: where they were not run alike, or what both measured differs by a single answer.
    """
    if abouts[0] != abouts[1]:
        raise InputError(f"boards are joined of one model, run alike: got {shown(abouts[0])} and {shown(abouts[1])}")
    if [board.name for board in before] != [board.name for board in now]:
        listed = [", ".join(board.name for board in boards) for boards in (before, now)]
        raise InputError(f"boards are joined of the same benchmarks: got {listed[0]}, and now {listed[1]}")
    return [_join(one, other, names) for one, other in zip(before, now)]


def _join(before: Board, now: Board, names: list[str]) -> Board:
    for field in SAME:
        old, new = getattr(before, field), getattr(now, field)
        if old != new:
            raise InputError(
                f"boards are joined of the same questions: {now.name} had {field} {old}, and has now {new}"
            )
    _check_measured_alike(before, now)
    order = [*names, *(name for name in _names(before) if name not in names)]
    order = [one for name in order for one in ((name, BLIND) if name == UNREDUCED else (name,))]
    return replace(
        now,
        points=_in_order(now.points, before.points, order),
        beyond=_in_order(now.beyond, before.beyond, order),
        unreached=_in_order(now.unreached, before.unreached, order),
    )


def _check_measured_alike(before: Board, now: Board) -> None:
    old = {(point.name, point.retain): point for point in before.points}
    for point in now.points:
        known = old.get((point.name, point.retain))
        if known is not None and (known.right, known.tokens, known.asked) != (point.right, point.tokens, point.asked):
            where = point.name if point.retain is None else f"{point.name} at {point.retain} tokens"
            raise InputError(
                f"boards are joined where what both measured is equal: of {now.name}, {where} had {shown(known.right)} "
                f"right, and has now {shown(point.right)}; measure all methods anew, on one machine"
            )


def _in_order(now: list[Any], before: list[Any], order: list[str]) -> list[Any]:
    """Records of both, this run's where both have one; methods in order, budgets as they came."""
    fresh = {(one.name, one.retain) for one in now}
    found = [*now, *(one for one in before if (one.name, one.retain) not in fresh)]
    return sorted(found, key=lambda one: order.index(one.name))


def _names(board: Board) -> list[str]:
    return list(dict.fromkeys(one.name for one in (*board.points, *board.unreached) if one.name != BLIND))
