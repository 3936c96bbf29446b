"""The table of the methods' own work, on a shape small enough for a test."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.eval.speed.own_work import Operations
from llava.reduction import available, method_class

SMALL = ["--layers", 8, "--width", 64, "--intermediate", 128, "--heads", 4, "--vocabulary", 100, "--device", "cpu"]
SMALL += ["--vision-layers", 5, "--vision-width", 32, "--vision-heads", 2, "--repeats", 2, "--images", 2]


def test_every_method_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "new/cost.json"
    done = call("method_cost", capsys, *SMALL, "--retain", 128, "--clock", "cpu", "--json", path)
    assert done.code == 0 and "cpu time; LLM 8 layers x 64, CLIP 5 layers x 32" in done.out
    result = json.loads(path.read_text())
    rows = {row["method"]: row for row in result["rows"]}
    assert list(rows) == available() and result["unreached"] == []
    for name, row in rows.items():
        assert f"| {name} | {row['tokens']:.0f} | " in done.out
        assert row["tokens"] == 576 if name == "none" else abs(row["tokens"] - 128) < 1.5
        assert 0 <= row["share"] < 1 and row["prefill_ms"] > 0 and row["encoder_ms"] > 0
    assert rows["none"]["operations"] < 10 < rows["fastervlm"]["operations"] < 60 < rows["visiondrop"]["operations"]
    assert rows["fastervlm"]["operations"] < rows["vispruner"]["operations"] < rows["scope"]["operations"]
    reading = [name for name in available() if method_class(name).reads_question]
    assert [name for name, row in rows.items() if row["reads_question"]] == reading


def test_a_budget_that_a_method_cannot_come_to_is_said(capsys: pytest.CaptureFixture) -> None:
    flags = ["--methods", "pyramiddrop", "fastervlm", "--retain", 20]
    done = call("method_cost", capsys, *SMALL, *flags)
    assert done.code == 0 and "pyramiddrop at 20 is not there: --retain of pyramiddrop must lie" in done.out
    done = call("method_cost", capsys, *SMALL, "--methods", "scope", "--retain", 577)
    assert done.code == 2 and "\n" not in done.err and "num_token must not exceed" in done.err


def test_operations_are_counted_without_views() -> None:
    with Operations() as issued:
        (torch.ones(3, 4).transpose(0, 1)[1:].unsqueeze(0) + 1).sum()
    assert issued.count == 3
