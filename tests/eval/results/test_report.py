"""All scores in one table, next to the paper's."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from commands import call
from PIL import Image

from llava.eval.results.table import PAPER, PAPER_NEXT

SCORES = {
    ("none", 576.0): {"gqa": 60.0, "pope": 80.0, "mme": 1860.0},
    ("visiondrop", 192.0): {"gqa": 59.0, "pope": 79.0},
    ("visiondrop", 32.0): {"gqa": 50.0, "pope": 72.0, "mme": 1500.0},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for (method, tokens), scores in SCORES.items():
        for benchmark, score in scores.items():
            record = {"benchmark": benchmark, "metric": "m", "score": score, "method": method, "tokens": tokens}
            path = tmp_path / f"results/llava_{method}_{tokens:.0f}/{benchmark}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record | {"model": "llava-v1.5-7b", "settings": {}}))
    return tmp_path / "results"


def test_average_is_per_cent_of_the_unreduced_run(results: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", results, "--no-paper")
    lines = [line for line in done.out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in lines]
    assert rows[0] == ["model", "method", "tokens", "gqa", "mme", "pope", "% of full", "benchmarks", "published"]
    first, second, third = rows[2:]
    assert first == ["llava-v1.5-7b", "none", "576", "60.00", "1860.00", "80.00", "100.00", "3", "no"]
    assert second[2:7] == ["192", "59.00", "-", "79.00", f"{100 * (59 / 60 + 79 / 80) / 2:.2f}"]
    assert "averaged over different benchmarks" in done.out
    assert third[6] == f"{100 * (50 / 60 + 72 / 80 + 1500 / 1860) / 3:.2f}"


def test_paper_stands_beside_marked_as_published(results: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", results)
    row = next(line for line in done.out.splitlines() if "visiondrop | 32" in line and "arXiv" in line)
    assert "| 52.79 |" in row and "| 77.19 |" in row and "| 91.46 | 9 | yes |" in row


def test_the_papers_llava_next_is_there_with_what_is_known_of_it(results: Path, capsys: pytest.CaptureFixture) -> None:
    """2880 tokens, and 320 with 95.71 % of the accuracy; no single score is known, nor of how many benchmarks."""
    lines = [line for line in call("report", capsys, "--results", results).out.splitlines() if "NeXT" in line]
    assert [line.split(" | ")[1:3] + line.split(" | ")[-3:] for line in lines] == [
        ["none", "2880", "100.00", "-", "yes |"],
        ["visiondrop", "320", "95.71", "-", "yes |"],
    ]
    assert all(row.scores == {} and row.published for row in PAPER_NEXT)


def test_files(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", results, "--output", tmp_path / "figures/accuracy")
    assert done.code == 0 and "written to" in done.out
    table = list(csv.reader((tmp_path / "figures/accuracy.csv").open()))
    assert len(table) == 1 + 3 + 5 + 2 and table[1][:3] == ["llava-v1.5-7b", "none", "576"]
    assert (tmp_path / "figures/accuracy.md").read_text() in done.out
    with Image.open(tmp_path / "figures/accuracy.png") as picture:
        assert picture.format == "PNG" and picture.width > 800
        assert len(set(picture.convert("RGB").getdata())) > 50


def test_without_an_unreduced_run_there_is_no_average(results: Path, capsys: pytest.CaptureFixture) -> None:
    for path in (results / "llava_none_576").iterdir():
        path.unlink()
    done = call("report", capsys, "--results", results, "--no-paper")
    assert "| - | 2 | no |" in done.out and "METHOD=none" in done.out


def _twice(folder: Path, **changes: object) -> None:
    """One more GQA score of VisionDrop at 32 tokens."""
    record = json.loads((folder / "llava_visiondrop_32/gqa.json").read_text()) | changes
    (folder / "again").mkdir()
    (folder / "again/gqa.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("{"), "a result must be JSON"),
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("[1]"), "a result must be one JSON object"),
        (lambda folder: (folder / "llava_none_576/gqa.json").write_bytes(b"\xff"), "a result must be UTF-8 text"),
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("[" * 99999), "nested too deeply"),
        (lambda folder: _twice(folder, score="60"), "score of a result is no such value"),
        (lambda folder: _twice(folder, tokens=None), "tokens of a result is no such value"),
        (lambda folder: _twice(folder, score=10**400), "score of a result is no such value"),
        (lambda folder: _twice(folder, method=["a"]), "method of a result is no such value"),
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("{}"), "lacks benchmark; run its script again"),
        (_twice, "is another gqa of llava-v1.5-7b, visiondrop, 32.0 tokens; remove one"),
        (lambda folder: _twice(folder, settings=3), "settings of a result is no such value"),
    ],
)
def test_bad_results_are_refused(results: Path, capsys: pytest.CaptureFixture, spoil: object, complaint: str) -> None:
    spoil(results)
    done = call("report", capsys, "--results", results)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0


def test_no_results(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", tmp_path)
    assert done.code == 2 and "a report needs results" in done.err


def test_schedules_of_one_budget_are_told_apart(results: Path, capsys: pytest.CaptureFixture) -> None:
    _twice(results, settings={"dominant": 48, "layer_list": [8, 16], "image_token_list": [[20, 5]]}, score=51.0)
    done = call("report", capsys, "--results", results, "--no-paper")
    names = [line.split(" | ")[1] for line in done.out.splitlines()[2:] if line.startswith("|")]
    assert names == ["none", "visiondrop", "visiondrop", "visiondrop 48 [8,16] [[20,5]]"]
    assert "| visiondrop 48 [8,16] [[20,5]] | 32 | 51.00 | - | - | 85.00 | 1 | no |" in done.out


@pytest.mark.parametrize("more", [[], ["--no-paper"]])
def test_a_picture_of_the_unreduced_run_alone(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture, more: list[str]
) -> None:
    for name in ("llava_visiondrop_192", "llava_visiondrop_32"):
        shutil.rmtree(results / name)
    done = call("report", capsys, "--results", results, "--output", tmp_path / "a", *more)
    assert done.code == 0 and done.err == "" and (tmp_path / "a.png").stat().st_size > 1000


def test_the_papers_rows_are_those_of_its_table() -> None:
    """Average of nine, per cent of full; and GQA, MMBench, POPE, ScienceQA, VQAv2 (arXiv 2506.22283, LLaVA-1.5-7B)."""
    table = {(row.method, row.tokens): (*row.scores.values(), row.relative) for row in PAPER}
    assert table == {
        ("none", 576): (61.92, 66.31, 86.81, 69.51, 78.53, 100),
        ("visiondrop", 192): (59.99, 65.19, 87.23, 69.06, 77.28, 98.76),
        ("pyramiddrop", 192): (57.27, 63.51, 82.40, 69.56, 75.57, 96.11),
        ("visiondrop", 32): (52.79, 60.31, 77.19, 69.41, 68.55, 91.46),
        ("visionzip", 32): (51.80, 58.02, 75.11, 68.72, 67.12, 89.92),
    }
    assert all(row.published and list(row.scores) == ["gqa", "mmbench", "pope", "sqa", "vqav2"] for row in PAPER)
