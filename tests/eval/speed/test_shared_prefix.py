"""A shared prefix is attended to as its copies are, and a batch's bytes are counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call

from llava.eval.runs.memory import cache_bytes
from llava.eval.speed import asked_batches, shared_prefix
from llava.eval.speed.asked_batches import measure_asking
from llava.eval.speed.random_model import PRESETS, Shape, random_model
from llava.eval.speed.shared_prefix import copied, measure_batches
from llava.eval.speed.throughput import BEFORE
from llava.model.language_model.shared_attention import attend_both
from llava.reduction import method_class


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_two_attentions_joined_are_one(size: float) -> None:
    """Also where a score stands far above the others, in either part."""
    torch.manual_seed(0)
    query = size * torch.randn(5, 3, 1, 16)
    prefix = torch.randn(3, 40, 16), torch.randn(3, 40, 16)
    own = torch.randn(5, 3, 7, 16), torch.randn(5, 3, 7, 16)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *copied(prefix, own))
    torch.testing.assert_close(attend_both(query / 4, prefix, own, None), wanted, rtol=1e-5, atol=1e-5)


def test_the_command_counts_bytes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--preset", "tiny", "--retain", 20, "--rows", 2, 8, "--repeats", 1, "--ask", "--device", "cpu"]
    done = call("batch_memory", capsys, *flags, "--json", tmp_path / "made/batch.json")
    assert done.code == 0 and done.out.count("\n| ") == 5 + 5
    assert "; float32, wall time; LLM 8 layers x 64\n" in done.out
    made = json.loads((tmp_path / "made/batch.json").read_text())
    rows, asked = made["rows"], made["asked"]
    assert [(row["method"], row["rows"]) for row in rows] == [(m, n) for m in ("none", "visiondrop") for n in (2, 8)]
    model = random_model(PRESETS["tiny"], "meta", torch.float32)
    prefix = cache_bytes(model, method_class("none")(), model.geometry, BEFORE)
    assert prefix == 8 * 2 * 64 * 4 * (36 + 64)
    own = 8 * 2 * 64 * 4 * (22 + 4)
    assert [row["copied_bytes"] for row in rows[:2]] == [2 * (prefix + own), 8 * (prefix + own)]
    assert [row["shared_bytes"] for row in rows[:2]] == [prefix + 2 * own, prefix + 8 * own]
    assert all(row["copied_ms"] > 0 and row["shared_ms"] > 0 for row in rows)
    assert [(row["method"], row["rows"]) for row in asked] == [(row["method"], row["rows"]) for row in rows]
    assert all(row["copied_s"] > 0 and row["shared_s"] > 0 for row in asked)


@pytest.mark.parametrize("measure", [measure_batches, measure_asking])
def test_everything_is_made_and_timed_on_the_device_that_is_named(
    measure: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without numbers stands for one that is not here."""
    asked: list[str] = []
    seen: list[torch.device] = []

    def medians(works: dict, repeats: int, device: str, clock: str) -> dict[str, float]:
        asked.append(device)
        for work in works.values() if measure is measure_batches else ():
            work.run(None)  # tensors of two devices would not go together
        return dict.fromkeys(works, 1.0)

    def peak(work: Callable, device: str) -> None:
        asked.append(device)

    def made(shape: Shape, device: str, *rest: Any) -> Any:
        seen.append(torch.device(device))
        return random_model(shape, "cpu" if measure is measure_asking else device, *rest)

    for module in (shared_prefix, asked_batches):
        monkeypatch.setattr(module, "medians", medians)
        monkeypatch.setattr(module, "random_model", made)
    monkeypatch.setattr(asked_batches, "peak_bytes", peak)
    measure(PRESETS["tiny"], "meta", torch.float16, [20], [2], 1, "wall")
    assert set(asked) == {"meta"} and set(seen) == {torch.device("meta")}
