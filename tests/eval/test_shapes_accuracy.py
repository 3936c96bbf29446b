"""The embedded model still sees what it saw when the curve was measured: exact counts on a part of the benchmark."""

import argparse
import json
from pathlib import Path

import pytest

from llava.eval.curve import all_methods, build_parser
from llava.eval.curves.asking import ask
from llava.eval.curves.board import as_markdown
from llava.eval.curves.measured import read_boards
from llava.eval.curves.runs import plan_runs
from llava.eval.judging.opening import open_one
from llava.eval.runs.loading import TRAINED
from llava.reduction import available

ROOT = Path(__file__).parents[2]
CARD = ROOT / TRAINED / "README.md"
EVERY = 20  # pictures; 18 of the 360
# Right answers of `ASKED`, float32 on a CPU, by method and budget. PyramidDrop cannot come down to 28.
ASKED = 106
RIGHT: dict[tuple[str, int | None], int] = {
    ("none", None): 97,
    ("blind", None): 29,
    ("visiondrop", 85): 95,
    ("visiondrop", 28): 90,
    ("visionzip", 85): 97,
    ("visionzip", 28): 91,
    ("pyramiddrop", 85): 87,
    ("pyramiddrop", 57): 85,
    ("random", 85): 92,
    ("random", 28): 69,
}


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """The curve's own, for a part of the pictures."""
    monkeypatch.chdir(ROOT)
    return build_parser().parse_args(["--every", str(EVERY), "--device", "cpu", "--dtype", "float32"])


@pytest.mark.slow
@pytest.mark.long
def test_counts_are_those_that_were_measured(arguments: argparse.Namespace) -> None:
    opened, benchmark = open_one(arguments)
    runs, _ = plan_runs(opened.loaded.model.geometry, all_methods(), [3, 4.5, 9], seeds=1)
    runs = [run for run in runs if (run.name, run.retain) in RIGHT]
    runs, scores, _ = ask(opened, benchmark, runs, 64)
    found = {(run.name, run.retain): sum(own) for run, own in zip(runs, scores)}
    assert (len(benchmark.items), found) == (ASKED, RIGHT)


def test_tables_that_are_shown_are_those_that_were_measured() -> None:
    table = (ROOT / "figures/shapes_accuracy.md").read_text()
    measured = json.loads((ROOT / "figures/shapes_accuracy.json").read_text())
    assert table.split("\n\n")[0] in (ROOT / "docs/shapes.md").read_text()
    for point in measured["points"]:
        assert f"{', '.join(map(str, point['right']))} of {point['asked']} |" in table
        assert point["accuracy"] == pytest.approx(100 * sum(point["right"]) / point["asked"] / len(point["right"]))


def test_the_leaderboards_tables_are_those_of_its_numbers() -> None:
    boards, about = read_boards(str(ROOT / "figures/leaderboard.json"))
    table = as_markdown(boards, about)
    assert (ROOT / "figures/leaderboard.md").read_text() == table
    _, _, ranked, _, beyond, *_ = table.split("\n\n")
    page = (ROOT / "docs/shapes.md").read_text()
    assert ranked in page and beyond in page
    [board] = boards
    assert (board.questions, board.pictures) == (2119, 360) and {"none", "blind"} < {one.name for one in board.points}
    assert {one.name for one in (*board.points, *board.unreached)} == {*available(), "blind"}


def test_the_curve_is_drawn_from_the_leaderboards_numbers() -> None:
    curve = json.loads((ROOT / "figures/shapes_accuracy.json").read_text())
    [whole] = json.loads((ROOT / "figures/leaderboard.json").read_text())["benchmarks"]
    shown = dict.fromkeys(point["name"] for point in curve["points"])
    assert list(shown) == ["none", "blind", "visiondrop", "visionzip", "pyramiddrop", "downsample", "random"]
    measured = [point for point in whole["points"] if point["name"] in shown]
    assert sorted(curve["points"], key=str) == sorted(measured, key=str)


def test_what_the_docs_show_of_attention_and_ablations_was_measured() -> None:
    page = (ROOT / "docs/evaluation.md").read_text().split("**Attention** examines")[1]
    shown = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    found = [path.read_text() for stem in ("attention", "ablation_*") for path in (ROOT / "figures").glob(f"{stem}.md")]
    measured = {line for text in found for line in text.splitlines()}
    assert len(shown) > 25 and set(shown) <= measured


def test_the_model_card_says_what_was_measured() -> None:
    measured = json.loads((ROOT / "figures/shapes_accuracy.json").read_text())
    for label, name in (("all tokens", "none"), ("blind", "blind")):
        [point] = [point for point in measured["points"] if point["name"] == name]
        cells = [point["accuracy"], *point["kinds"].values()]
        row = f"| {label} | {' | '.join(f'{cell:.1f}' for cell in cells)} | {point['right'][0]} of {point['asked']} |"
        assert row in CARD.read_text()


def test_the_model_is_small_and_in_llavas_layout() -> None:
    files = {str(path.relative_to(CARD.parent)): path.stat().st_size for path in CARD.parent.rglob("*.*")}
    assert sum(files.values()) <= 16 * 2**20
    assert {"config.json", "model.safetensors", "tokenizer.model", "vision_tower/config.json"} <= set(files)
    config = json.loads((CARD.parent / "config.json").read_text())
    tower = json.loads((CARD.parent / "vision_tower/config.json").read_text())
    assert config["num_hidden_layers"] >= 8 and config["mm_projector_type"] == "mlp2x_gelu"
    assert (tower["image_size"] // tower["patch_size"]) ** 2 >= 256
