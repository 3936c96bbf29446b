"""The table of what a reduction costs and saves on transformers' Qwen2.5-VL, on a shape small enough for a test."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.eval.speed.hf_cost import CLOCKS, clock_of

SMALL = ["--layers", 4, "--width", 64, "--intermediate", 96, "--heads", 4, "--vision-layers", 4, "--vision-width", 32]
SMALL += ["--image-tokens", 36, "--text-tokens", 40, "--repeats", 1, "--questions", 2, "--device", "cpu"]


def test_every_method_has_a_row_for_every_share(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "cost.json"
    flags = ["--methods", "visionzip", "fastv", "--retain", 0.5, "--clock", "cpu", "--json", path]
    done = call("hf_cost", capsys, *SMALL, *flags)
    assert done.code == 0 and "LLM 4 layers x 64, tower 4 x 32, 36 image tokens, 40 of text" in done.out
    result = json.loads(path.read_text())
    assert [row["method"] for row in result["rows"]] == ["none", "visionzip 0.5", "fastv 0.5"]
    none, half, _ = result["rows"]
    assert none["layers_fewer"] == 1 and none["own_ms"] == 0 and none["tokens"] == 36
    assert half["tokens"] == 18 and 1 < half["layers_fewer"] < 2
    assert list(result["shared"]) == ["visionzip 0.5"], "fastv reads the question"


@pytest.mark.parametrize("value", ["0", "1", "x", "nan"])
def test_a_share_is_one(value: str, capsys: pytest.CaptureFixture) -> None:
    done = call("hf_cost", capsys, "--retain", value)
    assert done.code == 2 and "must be a share above 0 and below 1" in done.err


def test_a_gpu_is_waited_for_at_every_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the clock is read, or the time of a part would be that of its launch."""
    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: said.append("waited"))
    monkeypatch.setitem(CLOCKS, "wall", lambda: said.append("read") or 1.0)
    assert clock_of("wall", "cuda")() == 1.0 and said == ["waited", "read"]
    assert clock_of("wall", "cpu")() == 1.0 and said == ["waited", "read", "read"]
