"""Accuracy and speed with fewer bits: the command on a small shape, and what its rows are of."""

import json
from pathlib import Path

import pytest
import torch
from commands import call

from llava.eval.device.agreement import examine
from llava.eval.fewer_bits import accuracy_table
from llava.eval.method_cost import at_budget
from llava.eval.speed.bits import PRECISIONS, bits_table, quantise, weight_bytes
from llava.eval.speed.random_model import PRESETS, random_model

pytest.importorskip("bitsandbytes")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--preset", "tiny", "--retain", 20, "--every", 200, "--repeats", 1, "--new-tokens", 2]
    done = call("fewer_bits", capsys, *flags, "--json", tmp_path / "made/bits.json")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "made/bits.json").read_text())
    assert found["model"] == "playground/shapes/llava-shapes" and found["shape"]["layers"] == 8
    named = [(row["precision"], round(row["tokens"])) for row in found["accuracy"]]
    assert named == [(name, tokens) for name in PRECISIONS for tokens in (256, 28)]
    for row in found["accuracy"]:
        assert 50 < row["accuracy"] <= 100 and row["equal"] >= 80 and abs(row["lost"]) <= 20
    assert all(row["lost"] == 0 and row["equal"] == 100 for row in found["accuracy"][:2])
    assert [row["precision"] for row in found["speed"]] == list(PRECISIONS)
    sizes = [row["weight_bytes"] for row in found["speed"]]
    assert sizes[0] == 2 * sizes[1] > 2 * sizes[2]
    assert "random weights\n\n| precision | encoder ms |" in done.out and "| 8 bits | 28 |" in done.out


def test_matrices_of_the_layers_alone_are_quantised_as_the_loader_does() -> None:
    from llava.model.checkpoint.int8_on_cpu import Int8OnCpu

    model = random_model(PRESETS["tiny"], "cpu", torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    whole = weight_bytes(model)
    quantise(model)
    made = {name: module for name, module in model.named_modules() if isinstance(module, Int8OnCpu)}
    assert len(made) == 8 * 7 and all(name.startswith("model.layers.") for name in made)
    for name, module in made.items():
        weight = before[name + ".weight"].float()
        assert (module.numbers * module.scale[:, None] - weight).abs().max() <= weight.abs().max() / 127
    assert whole - weight_bytes(model) == sum(module.weight.numel() for module in made.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_in_8_bits_are_the_same_alone_in_a_batch_and_shared(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 exactly, choices too; in bfloat16 as near as without 8 bits, and as near in the fixed-shape step."""
    monkeypatch.setattr(torch, "compile", lambda layer, **_: layer)
    model = random_model(PRESETS["tiny"], "cpu", dtype)
    [method], _ = at_budget(["visiondrop"], 20, model.geometry)
    whole = examine(model, method, False, None)["chosen"]
    quantise(model)
    row = examine(model, method, True, whole)
    assert row["right"] and row["compiled"] is not None and 0.5 < row["choices_float32"] <= 1


def test_ratios_are_to_the_first_row() -> None:
    row = {"precision": "float32", "encoder_ms": 10, "prefill_ms": 20, "token_ms": 3, "end_to_end_ms": 80}
    half = {name: value / 2 for name, value in row.items() if name != "precision"} | {"precision": "bfloat16"}
    lines = bits_table([row | {"weight_bytes": 2**22}, half | {"weight_bytes": 2**21}]).splitlines()
    assert lines[-1] == "| bfloat16 | 5 | 2.0x | 10 | 2.0x | 1.5 | 2.0x | 40 | 2.0x | 2 MiB |"
    right = {"precision": "bfloat16", "tokens": 28.1, "accuracy": 80.0, "lost": -0.5, "equal": 99.0}
    assert accuracy_table([right]).splitlines()[-1] == "| bfloat16 | 28 | 80.00 | -0.50 | 99.00 % |"
