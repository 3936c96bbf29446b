"""The table of budgets: arithmetic, reasons, and the command."""

import json
from pathlib import Path

import pytest
from commands import TINY, call

from llava.eval.curves.budget_table import as_table, kv_bytes, row_of, shared
from llava.reduction import Geometry, create
from llava.reduction.schedule import DecoderShape

LLAVA = Geometry(layers=32, patches=576)
SHAPE = DecoderShape(32, 4096, 11008, 4096)


def test_a_row_is_what_computes() -> None:
    row = row_of("fastv", "paper-64", LLAVA, SHAPE, 55, 2)
    assert (row["tokens"], row["stages"], row["layers"]) == (64.125, [576, 30], [2, 30])
    assert row["flops"] == 2 * SHAPE.layer_flops(631) + 30 * SHAPE.layer_flops(85)
    assert row["kv_bytes"] == 2 * 2 * 4096 * (2 * 631 + 30 * 85)
    assert row["shared"] == "image tokens"


def test_keys_and_values_of_grouped_queries_are_narrower() -> None:
    assert kv_bytes(DecoderShape(2, 8, 16, 4), [10, 3], [1, 1], 1, 4) == 2 * 4 * 4 * (11 + 4)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"name": "scope", "num_token": 9}, "all"),
        ({"name": "pyramiddrop"}, "image tokens"),
        ({"name": "pyramiddrop", "ranking": "visual"}, "all"),
        ({"name": "mmtok", "visual_token_num": 9}, "nothing"),
    ],
)
def test_what_questions_share(settings: dict, what: str) -> None:
    assert shared(create(settings.pop("name"), **settings)) == what


def test_what_cannot_be_had_is_there_with_its_reason() -> None:
    rows = [row_of("fastv", budget, LLAVA, SHAPE, 55, 2) for budget in (32, "paper-32")]
    table = as_table(rows)
    assert "| fastv | 32 | impossible |" in table and "| fastv | paper-32 | not published |" in table
    assert "fastv at 32: --retain of fastv must lie between" in table and "expected at least 36.9" in table


def test_command_needs_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "rows.json"
    found = call("budgets", capsys, "--methods", "none", "visiondrop", "--budgets", 64, 50, "--json", output)
    assert found.code == 0 and found.out.startswith("LLaVA-1.5-7B: 32 layers, 576 image tokens")
    rows = json.loads(output.read_text())["rows"]
    assert [(row["method"], row["budget"]) for row in rows] == [
        ("none", 576), ("visiondrop", 64), ("visiondrop", 50), ("visiondrop", "paper-64"),
    ]  # fmt: skip
    assert rows[0]["flops"] == 32 * SHAPE.layer_flops(631)
    tiny = call("budgets", capsys, "--methods", "vtw", "--model-path", TINY, "--budgets", 64)
    assert tiny.code == 0 and "12 layers" in tiny.out and "not published" in tiny.out


def test_command_refuses_what_is_no_checkpoint(capsys: pytest.CaptureFixture) -> None:
    found = call("budgets", capsys, "--model-path", "/nowhere")
    assert found.code == 2 and found.err.count("\n") == 0
