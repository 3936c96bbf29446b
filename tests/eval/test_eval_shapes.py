"""The shapes benchmark's rule, its printed form, and complaints."""

import json
from pathlib import Path

import pytest
from commands import call
from published import lines

from llava.eval.eval_shapes import by_category, is_right, report

ANSWERS = ("red", "Top left", "2", "yes")
KINDS = ("colour", "place", "count", "existence")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Four questions, their right answers, and an answers file that has three of them right."""
    records = [
        {"question_id": at, "image": f"{at // 2}.png", "text": "What?", "category": kind}
        for at, kind in enumerate(KINDS)
    ]
    lines(tmp_path / "questions.jsonl", records)
    lines(tmp_path / "truth.jsonl", [record | {"answer": answer} for record, answer in zip(records, ANSWERS)])
    given = [(3, "Yes."), (0, " RED"), (1, "top right"), (2, "2")]
    lines(tmp_path / "given.jsonl", [{"question_id": at, "text": text} for at, text in given])
    return tmp_path


def flags(folder: Path) -> list[object]:
    return [
        *("--question-file", folder / "questions.jsonl", "--annotation-file", folder / "truth.jsonl"),
        *("--result-file", folder / "given.jsonl"),
    ]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("top left", True),
        ("Top Left.", True),
        (" TOP LEFT \n", True),
        ("top left .", True),
        ("top left..", False),
        ("top-left", False),
        ("the top left", False),
        ("left", False),
        ("top  left", False),
        ("", False),
    ],
)
def test_only_case_and_a_full_stop_are_forgiven(text: str, right: bool) -> None:
    assert is_right(text, "top left") is right
    assert is_right("top left", text) is right


def test_table_has_a_line_for_each_kind_in_order_of_appearance() -> None:
    records = [{"category": kind} for kind in ("b", "a", "b", "b")]
    counts = by_category(records, [True, False, True, False])
    assert counts == {"b": (2, 3), "a": (0, 1)}
    assert report(counts).splitlines() == [
        "b            2 of     3   66.67 %",
        "a            0 of     1    0.00 %",
        "---------------------------------",
        "overall      2 of     4   50.00 %",
    ]


def test_last_line_is_for_programs(shapes: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("eval_shapes", capsys, *flags(shapes))
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out.splitlines()[-1]) == {
        "benchmark": "shapes",
        "metric": "exact match",
        "score": 75.0,
        "samples": 4,
        "missing": 0,
        "undecided": 0,
        "categories": {
            kind: {"right": right, "asked": 1, "score": 100.0 * right} for kind, right in zip(KINDS, (1, 0, 1, 1))
        },
    }


def _drop_last(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: _drop_last(f / "given.jsonl"), "every question needs an answer"),
        (lambda f: _drop_last(f / "truth.jsonl"), "which is not in"),
        (lambda f: _drop_last(f / "questions.jsonl"), "is about 3, which is not in"),
        (lambda f: (f / "given.jsonl").unlink(), "No such file"),
        (lambda f: (f / "truth.jsonl").write_text('{"question_id": 1}\n'), "line 1 lacks image"),
        (lambda f: (f / "truth.jsonl").write_text(2 * (f / "truth.jsonl").read_text()), "line 5 is about 0 again"),
        (
            lambda f: lines(f / "given.jsonl", [{"question_id": at, "text": 3} for at in range(4)]),
            "text in an answers file is text",
        ),
        (lambda f: lines(f / "questions.jsonl", [{"question_id": [0]}]), "question_id must be text or a whole number"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    shapes: Path, capsys: pytest.CaptureFixture, spoil: object, complaint: str
) -> None:
    spoil(shapes)
    done = call("eval_shapes", capsys, *flags(shapes))
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0
