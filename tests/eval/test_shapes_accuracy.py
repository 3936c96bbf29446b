"""The embedded model still sees what it saw when the curve was measured: exact counts on a part of the benchmark."""

import argparse
import json
from pathlib import Path

import pytest

from llava.eval.curve import all_methods, build_parser, read_benchmark
from llava.eval.curve_runs import answer_all, plan_runs
from llava.eval.eval_shapes import is_right
from llava.eval.loading import load_model

ROOT = Path(__file__).parents[2]
EVERY = 20  # pictures; 18 of the 360
# Right answers of `ASKED`, float32 on a CPU, by method and budget. PyramidDrop cannot come down to 28.
ASKED = 0
RIGHT: dict[tuple[str, int | None], int] = {}


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """The curve's own, for a part of the pictures."""
    monkeypatch.chdir(ROOT)
    return build_parser().parse_args(["--every", str(EVERY), "--device", "cpu", "--dtype", "float32"])


@pytest.mark.slow
def test_counts_are_those_that_were_measured(arguments: argparse.Namespace) -> None:
    questions, truth = read_benchmark(arguments)
    loaded = load_model(arguments)
    runs, _ = plan_runs(loaded.model.geometry, all_methods(), [3, 4.5, 9], seeds=1)
    runs = [run for run in runs if (run.name, run.retain) in RIGHT]
    texts = answer_all(loaded, loaded.prepare(questions, arguments.conv_mode), runs, 64, arguments.max_new_tokens)
    found = {
        (run.name, run.retain): sum(is_right(text, record["answer"]) for text, record in zip(answers, truth))
        for run, answers in zip(runs, texts)
    }
    assert (len(questions), found) == (ASKED, RIGHT)


def test_tables_that_are_shown_are_those_that_were_measured() -> None:
    table = (ROOT / "figures/shapes_accuracy.md").read_text()
    measured = json.loads((ROOT / "figures/shapes_accuracy.json").read_text())
    assert table.strip() in (ROOT / "docs/shapes.md").read_text()
    for point in measured["points"]:
        assert f"{', '.join(map(str, point['right']))} of {point['asked']} |" in table
        assert point["accuracy"] == pytest.approx(100 * sum(point["right"]) / point["asked"] / len(point["right"]))
