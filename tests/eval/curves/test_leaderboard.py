"""The leaderboard: what the control gets wrong, published numbers apart, several benchmarks, and its files."""

import json
from pathlib import Path

import pytest
from commands import call, small_benchmark

from llava.eval.curves.beyond import Beyond, beyond_control
from llava.eval.curves.board import Board, as_markdown, ranked
from llava.eval.curves.points import mean_and_margin, points_of
from llava.eval.curves.published_numbers import FAMILIES
from llava.eval.curves.runs import Run, Unreached
from llava.eval.judging.opening import places_of
from llava.eval.judging.words import means_the_same
from llava.eval.leaderboard import build_parser
from llava.reduction import create

IMAGES = ["a", "a", "b", "c"]
RUNS = [
    Run("none", None, create("none"), 64.0),
    Run("downsample", 16, create("downsample", rows=4, cols=4), 16.0),
    Run("random", 16, create("random", keep=16, seed=0), 16.0, 0),
    Run("random", 16, create("random", keep=16, seed=1), 16.0, 1),
    Run("scope", 16, create("scope", num_token=16), 16.0),
    Run("scope", 8, create("scope", num_token=8), 8.0),
]
RIGHT = [
    [True, True, True, True],
    [True, False, False, False],
    [False, True, False, False],
    [False, True, True, False],
    [False, True, True, False],
    [True, True, True, True],
]

BEYOND = {"name": "scope", "retain": 8, "accuracy": 50.0, "margin": 1.0, "asked": 2}
BOARD = {"name": "toy", "questions": 4, "pictures": 3, "points": [], "beyond": [], "unreached": []}


def test_beyond_counts_only_what_the_small_picture_gets_wrong() -> None:
    random, scope = beyond_control(RUNS, RIGHT, IMAGES)
    left = IMAGES[1:]
    assert random == Beyond("random", 16, *mean_and_margin([1.0, 0.5, 0.0], left), 3)
    assert scope == Beyond("scope", 16, *mean_and_margin([1.0, 1.0, 0.0], left), 3)


def test_nothing_is_beyond_where_the_control_is_right_or_absent() -> None:
    assert beyond_control(RUNS[:2] + RUNS[4:], [RIGHT[0], [True] * 4, *RIGHT[4:]], IMAGES) == []
    assert beyond_control(RUNS[2:], RIGHT[2:], IMAGES) == []


@pytest.fixture
def board() -> Board:
    truth = [{"image": image, "category": "kind"} for image in IMAGES]
    points, beyond = points_of(RUNS, RIGHT, truth), beyond_control(RUNS, RIGHT, IMAGES)
    return Board("toy", 4, 3, points, beyond, [Unreached("fastv", 8, "too few")])


def test_methods_stand_by_accuracy_at_the_largest_budget(board: Board) -> None:
    names = [line.split(" | ")[0] for line in ranked(board)[2:]]
    assert names == ["| none", "| scope", "| random", "| downsample"]


def test_published_numbers_stand_apart(board: Board) -> None:
    table = as_markdown([board], {"model": "tiny"})
    measured, published = table.split("## As published")
    assert "fastv at 8 is not there: too few" in measured and "published" not in measured.lower()
    assert "not measured here" in published and published.count("| method (published) |") == len(FAMILIES) == 3
    assert "| FastV | 52.7 / 1612 / 64.8 / 89.5 | 49.6 / 1490 / 59.6 / 83.8 | 46.1 / 1256 / 48 / 74 |" in published
    assert "| PruMerge+ | 58 / 83.2 / 1412 | 55.1 / 76.3 / 1311 | 51.3 / 68.9 / - |" in published
    assert "| FastV | 75.8 / 96 | 68.3 / 91.8 | 36.1 / 75.2 |" in published


def test_rows_have_a_number_for_every_benchmark() -> None:
    for family in FAMILIES:
        for rows in family.rows.values():
            assert all(len(values) == len(family.columns) for values in rows.values())


def test_rules() -> None:
    assert means_the_same("No, there is none", "no") and not means_the_same("no", "yes")


def test_lists_of_benchmarks_are_one_of_each_or_one_for_all() -> None:
    args = build_parser().parse_args(
        ["--question-file", "pope/questions.jsonl", "gqa.jsonl", "--rule", "yes-no", "exact"]
    )
    truth, images = "playground/shapes/answers.jsonl", "playground/shapes/images"
    assert places_of(args) == {
        "pope": ("yes-no", "pope/questions.jsonl", truth, images),
        "gqa": ("exact", "gqa.jsonl", truth, images),
    }
    named = build_parser().parse_args(["--benchmark", "shapes", "pope", "--data", "d", "--question-file", "x.jsonl"])
    assert places_of(named)["pope"] == ("pope", "d/pope/llava_pope_test.jsonl", "d/pope/coco", "d/pope/val2014")
    assert list(places_of(named)) == ["shapes", "pope", "x"]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--question-file", "a", "b", "c", "--rule", "exact", "yes-no"], "--rule must come once, or once for each"),
        (["--question-file", "x/a.jsonl", "y/a.jsonl"], "benchmarks need different names"),
        (["--rule", "roughly"], "invalid choice: 'roughly'"),
        (["--benchmark", "pope", "--rule", "exact"], "--rule belongs to a --question-file"),
        (["--benchmark", "pope", "pope"], "benchmarks need different names"),
        (["--question-file", "/nowhere.jsonl"], "'/nowhere.jsonl'"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], complaint: str, capsys: pytest.CaptureFixture) -> None:
    found = call("leaderboard", capsys, "--model-path", "x", *flags)
    assert found.code == 2 and complaint in found.err and found.err.count("\n") == 0


def test_command_writes_tables_numbers_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """And draws them once more from the numbers, all of it or a curve of some methods, without asking anything."""
    flags = [*small_benchmark(tmp_path), "--methods", "downsample", "random", "fastv", "cdpruner", "none", "--seeds", 2]
    found = call("leaderboard", capsys, *flags, "--divisors", 9, "--output", tmp_path / "one")
    assert found.code == 0 and "downsample" in found.out
    record = json.loads((tmp_path / "one.json").read_text())
    [measured] = record["benchmarks"]
    assert measured["questions"] == 4 and measured["pictures"] == 2
    assert {point["name"] for point in measured["points"]} == {"none", "blind", "downsample", "random", "fastv"}
    [missing] = measured["unreached"]  # this checkpoint has no text tower: said, not fatal
    assert missing["name"] == "cdpruner" and "text tower" in missing["reason"]
    assert "published" in record and (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"

    assert call("leaderboard", capsys, "--redraw", tmp_path / "one.json", "--output", tmp_path / "two").code == 0
    for ending in ("json", "md", "png"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    redrawn = ["--redraw", tmp_path / "one.json", "--methods", "none", "random", "--output", tmp_path / "curve"]
    assert call("curve", capsys, *redrawn).code == 0
    points = json.loads((tmp_path / "curve.json").read_text())["points"]
    assert [point["name"] for point in points] == ["none", "blind", "random"]
    assert all(point in measured["points"] for point in points)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"benchmarks": []}, "have model and benchmarks"),
        ({"benchmarks": [{"name": "x"}]}, "lacks questions"),
        ({"benchmarks": [3]}, "has 3"),
        ({"benchmarks": [BOARD | {"points": 3}]}, "has points 3"),
        ({"benchmarks": [BOARD | {"points": [{"accuracy": 1}]}]}, "lacks name"),
        ({"benchmarks": [BOARD | {"beyond": [BEYOND | {"accuracy": "much"}]}]}, "has accuracy 'much'"),
        ({"benchmarks": [BOARD | {"unreached": [{"name": 1, "retain": 2, "reason": "x"}]}]}, "has name 1"),
    ],
)
def test_what_is_no_leaderboard_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, change: dict, complaint: str
) -> None:
    path = tmp_path / "board.json"
    path.write_text(json.dumps({"model": "m", "benchmarks": [BOARD]} | change))
    found = call("leaderboard", capsys, "--redraw", path, "--output", tmp_path / "out")
    assert found.code == 2 and complaint in found.err and found.err.count("\n") == 0
