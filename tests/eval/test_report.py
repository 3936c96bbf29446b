"""All scores in one table, next to the paper's."""

import csv
import json
from pathlib import Path

import pytest
from commands import call
from PIL import Image

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
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in done.out.splitlines()]
    assert rows[0] == ["model", "method", "tokens", "gqa", "mme", "pope", "% of full", "benchmarks", "published"]
    first, second, third = rows[2:]
    assert first == ["llava-v1.5-7b", "none", "576", "60.00", "1860.00", "80.00", "100.00", "3", "no"]
    assert second[2:7] == ["192", "59.00", "-", "79.00", f"{100 * (59 / 60 + 79 / 80) / 2:.2f}"]
    assert third[6] == f"{100 * (50 / 60 + 72 / 80 + 1500 / 1860) / 3:.2f}"


def test_paper_stands_beside_marked_as_published(results: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", results)
    row = next(line for line in done.out.splitlines() if "visiondrop | 32" in line and "arXiv" in line)
    assert "| 52.79 |" in row and "| 77.19 |" in row and "| 91.46 | 9 | yes |" in row


def test_files(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", results, "--output", tmp_path / "figures/accuracy")
    assert done.code == 0 and "written to" in done.out
    table = list(csv.reader((tmp_path / "figures/accuracy.csv").open()))
    assert len(table) == 1 + 3 + 5 and table[1][:3] == ["llava-v1.5-7b", "none", "576"]
    assert (tmp_path / "figures/accuracy.md").read_text() in done.out
    with Image.open(tmp_path / "figures/accuracy.png") as picture:
        assert picture.format == "PNG" and picture.width > 800
        assert len(set(picture.convert("RGB").getdata())) > 50


def test_without_an_unreduced_run_there_is_no_average(results: Path, capsys: pytest.CaptureFixture) -> None:
    for path in (results / "llava_none_576").iterdir():
        path.unlink()
    done = call("report", capsys, "--results", results, "--no-paper")
    assert "| - | 2 | no |" in done.out and "METHOD=none" in done.out


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("{"), "a result must be one JSON object"),
        (lambda folder: (folder / "llava_none_576/gqa.json").write_text("{}"), "lacks benchmark; run its script again"),
        (lambda folder: (folder / "llava_none_576").rename(folder.parent / "x") or _twice(folder), "is another gqa of"),
    ],
)
def test_bad_results_are_refused(results: Path, capsys: pytest.CaptureFixture, spoil: object, complaint: str) -> None:
    spoil(results)
    done = call("report", capsys, "--results", results)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0


def _twice(folder: Path) -> None:
    (folder / "again").mkdir()
    (folder / "again/gqa.json").write_text((folder / "llava_visiondrop_32/gqa.json").read_text())


def test_no_results(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = call("report", capsys, "--results", tmp_path)
    assert done.code == 2 and "a report needs results" in done.err
