"""What a leaderboard has measured, read again from its JSON: tables and pictures are drawn without asking anew."""

from dataclasses import MISSING, fields
from typing import Any

from llava.errors import InputError, shown
from llava.eval.curves.beyond import Beyond
from llava.eval.curves.board import Board
from llava.eval.curves.points import Point
from llava.eval.curves.runs import Unreached
from llava.files.reading import read_json_object

WHAT = "a leaderboard's numbers"
TEXTS, PAIRS = ("name", "reason", "metric", "official_name"), ("above", "official")
PARTS = {"points": Point, "beyond": Beyond, "unreached": Unreached}


def read_boards(path: str) -> tuple[list[Board], dict[str, Any]]:
    """The benchmarks of a leaderboard, and what is said of the model.

    Raises:
        InputError: for a file that is none; names what it lacks.
    """
    record = read_json_object(path, WHAT)
    listed = record.get("benchmarks")
    about = {key: value for key, value in record.items() if key not in ("benchmarks", "published")}
    if not isinstance(listed, list) or not listed or not isinstance(about.get("model"), str):
        raise InputError(f"{WHAT} have model and benchmarks: '{path}' has not; give what leaderboard has written")
    return [_board(one, path) for one in listed], about


def _board(record: Any, path: str) -> Board:
    made = dict(_checked(Board, record, path))
    for key, kind in PARTS.items():
        if not isinstance(made[key], list):
            raise InputError(f"{WHAT} are lists: '{path}' has {key} {shown(made[key])}; make it again")
        made[key] = [kind(**_checked(kind, one, path)) for one in made[key]]
    return Board(**made)


def _checked(kind: Any, record: Any, path: str) -> dict[str, Any]:
    """A record as the arguments of its dataclass; lists of two numbers are pairs."""
    known = {field.name: field for field in fields(kind)}
    if not isinstance(record, dict) or not set(record) <= set(known):
        raise InputError(f"{WHAT} have records of {', '.join(known)}: '{path}' has {shown(record)}; make it again")
    lacking = [name for name, field in known.items() if field.default is MISSING and name not in record]
    if lacking:
        raise InputError(f"{WHAT} need {', '.join(known)}: a record of '{path}' lacks {lacking[0]}; make it again")
    for name, value in record.items():
        if not _fits(name, value):
            raise InputError(f"{WHAT} are numbers and texts: '{path}' has {name} {shown(value)}; make it again")
    return {name: tuple(value) if name in PAIRS and value is not None else value for name, value in record.items()}


def _fits(name: str, value: Any) -> bool:
    """Whether a value is of the kind that its name wants."""
    if name in TEXTS:
        return isinstance(value, str)
    if name == "kinds":
        return isinstance(value, dict) and all(map(_is_number, value.values()))
    if name in PAIRS and value is not None:
        return isinstance(value, list) and len(value) == 2 and all(one is None or _is_number(one) for one in value)
    if name == "right":
        return isinstance(value, list) and all(map(_is_number, value))
    return name in PARTS or value is None or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
