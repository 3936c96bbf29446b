"""A method measured later stands in the earlier leaderboard as if it had been asked with it, or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import call, small_benchmark

from llava.errors import InputError
from llava.eval.curves.board import Board
from llava.eval.curves.joining import join_boards
from llava.eval.curves.points import Point
from llava.eval.curves.runs import Unreached

ABOUT = {"model": "tiny", "dtype": "float32"}
NAMES = ["visionzip", "fastv", "none", "random"]


def point(name: str, retain: int | None, right: int) -> Point:
    return Point(name, retain, float(retain or 64), 25.0 * right, 1.0, [right], 4, {})


BEFORE = Board("toy", 4, 3, [point("none", None, 4), point("blind", None, 1), point("fastv", 8, 2)], [], [])
NOW = Board("toy", 4, 3, [point("none", None, 4), point("visionzip", 8, 3)], [], [Unreached("visionzip", 2, "few")])


def test_methods_of_both_stand_in_order() -> None:
    [board] = join_boards([BEFORE], [NOW], (ABOUT, dict(ABOUT)), NAMES)
    assert [one.name for one in board.points] == ["visionzip", "fastv", "none", "blind"]
    assert board.unreached == NOW.unreached and join_boards([board], [NOW], (ABOUT, ABOUT), NAMES) == [board]


@pytest.mark.parametrize(
    ("now", "about", "complaint"),
    [
        (NOW, ABOUT | {"dtype": "float16"}, "of one model, run alike"),
        (replace(NOW, name="other"), ABOUT, "the same benchmarks: got toy, and now other"),
        (replace(NOW, questions=5), ABOUT, "toy had questions 4, and has now 5"),
        (replace(NOW, points=[point("none", None, 3)]), ABOUT, "none had [4] right, and has now [3]; measure all"),
        (replace(NOW, points=[replace(point("fastv", 8, 2), tokens=9.0)]), ABOUT, "fastv at 8 tokens had [2] right"),
    ],
)
def test_what_was_not_measured_alike_is_refused(now: Board, about: dict, complaint: str) -> None:
    with pytest.raises(InputError) as error:
        join_boards([BEFORE], [now], (ABOUT, about), NAMES)
    assert complaint in str(error.value)


def test_joined_is_as_measured_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = [*small_benchmark(tmp_path), "--divisors", 9]
    for name, methods in (("first", ["none", "downsample"]), ("whole", ["none", "downsample", "fastv"])):
        found = call("leaderboard", capsys, *flags, "--methods", *methods, "--output", tmp_path / name)
        assert found.code == 0, found.err
    later = ["--methods", "none", "downsample", "fastv", "--join", tmp_path / "first.json"]
    assert call("leaderboard", capsys, *flags, *later, "--output", tmp_path / "joined").code == 0
    whole, joined = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "joined"))
    for part in ("points", "beyond", "unreached"):
        listed = [sorted(record["benchmarks"][0].pop(part), key=str) for record in (whole, joined)]
        assert listed[0] == listed[1]
    assert whole == joined


def test_what_cannot_be_compared_is_refused_before_anything_is_loaded(capsys: pytest.CaptureFixture) -> None:
    found = call("leaderboard", capsys, "--methods", "fastv", "--join", "/nowhere.json")
    assert found.code == 2 and "--methods lacks none and downsample; add none and downsample" in found.err
    found = call("leaderboard", capsys, "--methods", "none", "downsample", "--join", "/nowhere.json")
    assert found.code == 2 and "'/nowhere.json'" in found.err and found.err.count("\n") == 0
