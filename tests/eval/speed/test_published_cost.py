"""Papers' counts of operations beside ours, and the text length at which they meet."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.eval.speed import published_cost
from llava.eval.speed.published_cost import (
    LONGEST,
    PUBLISHED,
    PYRAMIDDROP,
    VISIONDROP,
    Published,
    beside,
    beside_table,
    counting,
    text_where,
)
from llava.eval.speed.random_model import PRESETS, random_model
from llava.reduction.schedule import DecoderShape


def test_the_visiondrop_papers_two_models_each_meet_at_one_text_length() -> None:
    """Encoder and layers, a multiply-add as two: full and reduced meet within 7 text tokens of each other."""
    rows = beside(PUBLISHED[VISIONDROP])
    assert [(row["preset"], row["meets_at"]) for row in rows] == [
        ("7b", 76), ("7b", 70), ("next-7b", 117), ("next-7b", 123)
    ]  # fmt: skip
    assert [row["text"] for row in rows] == [73, 73, 120, 120]
    for row in rows:
        assert row["counted_flops"] == pytest.approx(row["published_flops"], rel=0.022)


def test_pyramiddrops_numbers_are_image_tokens_alone_with_a_multiply_add_as_one() -> None:
    rows = beside(PUBLISHED[PYRAMIDDROP])
    assert [f"{row['counted_flops'] / 1e12:.2f}" for row in rows] == ["3.82", "1.78"]
    assert [(row["text"], row["meets_at"]) for row in rows] == [(0, None)] * 2


def test_what_a_line_says_is_what_is_counted() -> None:
    model = random_model(PRESETS["tiny"], "meta", torch.float16)
    shape = DecoderShape.of(model.config)
    alone = 8 * shape.layer_flops(64 + 10)
    assert counting(Published("tiny", "none", 0, 1, encoder=False), model)[1](10) == alone
    assert counting(Published("tiny", "none", 0, 1, encoder=False, per_multiply_add=1), model)[1](10) == alone / 2
    assert counting(Published("tiny", "none", 0, 1), model)[1](10) > alone
    method, counted = counting(Published("tiny", "visiondrop", 20, 1, encoder=False), model)
    assert counted(10) == sum(2 * shape.layer_flops(tokens + 10) for tokens in method.tokens_per_stage(model.geometry))


@pytest.mark.parametrize(("flops", "text"), [(100, 0), (119, 2), (114, 1), (10 * LONGEST + 100, LONGEST)])
def test_the_nearest_length_is_found(flops: float, text: int) -> None:
    assert text_where(lambda tokens: 100 + 10 * tokens, flops) == text


@pytest.mark.parametrize("flops", [99, 10 * LONGEST + 101])
def test_counts_that_never_meet_say_so(flops: float) -> None:
    assert text_where(lambda tokens: 100 + 10 * tokens, flops) is None


def test_a_line_that_never_meets_leaves_its_cells_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = beside([Published("tiny", "none", 0, 1.0)])
    assert rows[0]["meets_at"] is rows[0]["text"] is rows[0]["counted_flops"] is None
    assert beside_table(rows).splitlines()[-1] == "| tiny | none | 64 | 0.00 TFLOPs | 1.0x |  |  |  |  |  |  |  |"


def test_the_command_prints_and_writes_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (Published("tiny", "none", 0, 2e8, 10), Published("tiny", "visiondrop", 20, 1e8, 5))
    monkeypatch.setitem(published_cost.PUBLISHED, VISIONDROP, lines)
    done = call("efficiency", capsys, "--json", tmp_path / "made/efficiency.json")
    assert done.code == 0 and f"{VISIONDROP}\n\n| model | method |" in done.out and f"\n{PYRAMIDDROP}\n" in done.out
    assert "| tiny | visiondrop | 20 | 0.00 TFLOPs | 2.0x | 5 | 2.0x |" in done.out
    written = json.loads((tmp_path / "made/efficiency.json").read_text())
    assert list(written) == list(PUBLISHED) and len(written[VISIONDROP]) == 2
