"""Shapes cut to the layers that have room, and what is said of it."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.errors import InputError
from llava.eval import benchmark
from llava.eval.speed.fitting import FLOAT, SHARE, fitting
from llava.eval.speed.random_model import PRESETS, Shape, random_model

WIDE = Shape(16, 64, 128, 4, 3, 32, 2, image_size=112, vocabulary=100)


def weights(layers: int) -> int:
    """Of the wide model with so many layers."""
    model = random_model(dataclasses.replace(WIDE, layers=layers), "meta", torch.float32)
    return sum(part.numel() for part in model.parameters())


def test_layers_are_cut_in_fours_and_it_is_said() -> None:
    whole = FLOAT * weights(16) / SHARE
    assert fitting(WIDE, int(whole) + 1) == (WIDE, "")
    cut, said = fitting(WIDE, int(whole) - 1)
    assert cut.layers == 12 and said.startswith("cut from 16 to 12 LLM layers, which is what 0 GiB have room for")
    for room in (4, 5, 7):
        assert fitting(WIDE, int(FLOAT * weights(room) / SHARE) + 1)[0].layers == 4
    assert fitting(WIDE, int(whole) + 1, per_weight=2 * FLOAT)[0].layers < 16


def test_no_room_for_a_few_layers_is_refused() -> None:
    with pytest.raises(InputError, match=r"4 of its 40 layers need 10\.3 GiB free, got 4\.0; use a smaller --preset"):
        fitting(PRESETS["13b"], 4 * 2**30)


def test_the_benchmark_says_what_was_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = int(FLOAT * weights(16) / SHARE) - 1
    monkeypatch.setattr(benchmark, "free_bytes", lambda device: short)
    flags = ["--preset", "tiny", "--layers", 16, "--vision-layers", 3, "--device", "cpu", "--retain", 20, "--workloads"]
    done = call("benchmark", capsys, *flags, "--repeats", 1, "--new-tokens", 1, "--json", tmp_path / "cut.json")
    assert done.code == 0 and "LLM 12 layers x 64" in done.out and "; cut from 16 to 12 LLM layers" in done.out
    assert json.loads((tmp_path / "cut.json").read_text())["shape"]["layers"] == 12
