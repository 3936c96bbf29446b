"""The examination of a GPU, tried out on the CPU: every part, what it writes, and that it can find something wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from captures import Machine, capturing
from commands import call

from llava.eval.device import agreement
from llava.eval.device.agreement import examine
from llava.eval.device.aims import aims
from llava.eval.device.elsewhere import SMALL, SMALL_BUDGET, compare_with_cpu
from llava.eval.device.sections import run_sections
from llava.eval.device.syncs import count_syncs
from llava.eval.gpu import BUDGET, CHECKED, TINY_BUDGET
from llava.eval.method_cost import at_budget
from llava.eval.speed.random_model import PRESETS, Shape, random_model
from llava.eval.speed.roofline import Roof, against, measure_roof
from llava.model.generation import static_decoder
from llava.reduction import available

TINY = ["--device", "cpu", "--models", "tiny"]


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda layer, **_: layer)


def test_the_whole_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture, uncompiled: None) -> None:
    methods = ["--methods", "visiondrop", "sparsevlm"]
    done = call("gpu", capsys, *TINY, *methods, "--output", tmp_path / "figures/gpu")
    assert done.code == 0, done.err + done.out
    result = json.loads((tmp_path / "figures/gpu.json").read_text())
    assert (tmp_path / "figures/gpu.md").read_text() == done.out.removesuffix("\n")
    assert (tmp_path / "figures/gpu.png").read_bytes().startswith(b"\x89PNG")
    assert not result["failed"] and not result["skipped"]
    dtypes = [f"agreement {dtype}" for dtype in ("float32", "float16", "bfloat16")]
    assert list(result["found"]) == ["as on the CPU", *dtypes, "tables tiny"]
    elsewhere = [(row["method"], row["choices"], row["right"]) for row in result["found"]["as on the CPU"]]
    assert elsewhere == [("visiondrop", True, True), ("sparsevlm", True, True)]
    rows = [row for name, rows in result["found"].items() if name.startswith("agreement") for row in rows]
    assert [(row["method"], row["dtype"]) for row in rows[:3]] == [
        ("visiondrop", "float32"), ("sparsevlm", "float32"), ("visiondrop", "float16")
    ]  # fmt: skip
    for row in rows:
        assert row["right"] and row["syncs"] is None and row["captured"] is None and "chosen" not in row
        assert 0 < row["compiled"]["apart"] < agreement.LIMITS[getattr(torch, row["dtype"])][0]
        assert 0.5 < row["choices_float32"] <= 1
    table = result["found"]["tables tiny"]
    assert table["roof"]["flops"] > 1e9 and table["roof"]["bytes"] > 1e8
    for row, share in zip(table["rows"], table["of_peak"], strict=True):
        assert row["first_ms"] > 0 and 0 < share["prefill"] < 1.5 and share["compiled_token"] > 0
    assert [row["model"] for row in result["aims"]] == ["tiny"] * 4
    assert "questions per second as in GQA" in done.out and "| visiondrop | bfloat16 |" in done.out


def test_a_wrong_answer_is_found(uncompiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(PRESETS["tiny"], "cpu", torch.float32)
    [method], _ = at_budget(["visionzip"], 20, model.geometry)
    whole = agreement.ask_batched
    assert examine(model, method, True, None)["right"]

    def disturbed(*arguments: Any) -> tuple[torch.Tensor, list]:
        logits, chosen = whole(*arguments)
        logits = logits.clone()
        logits[0, 0] += 0.01 * logits.abs().max()
        return logits, chosen

    monkeypatch.setattr(agreement, "ask_batched", torch.inference_mode()(disturbed))
    row = examine(model, method, True, None)
    assert not row["right"] and row["batched"]["agree"] == 1 - 1 / 8
    monkeypatch.setattr(agreement, "ask_batched", whole)
    monkeypatch.setattr(agreement.StaticDecoder, "start", lambda *_: None)
    assert not examine(model, method, True, None)["right"]


@pytest.mark.parametrize(
    ("shape", "budget"), [(CHECKED, BUDGET), (SMALL, SMALL_BUDGET), (PRESETS["tiny"], TINY_BUDGET)]
)
def test_every_method_comes_to_the_budget_that_answers_are_compared_at(shape: Shape, budget: int) -> None:
    model = random_model(shape, "meta", torch.float32)
    methods, unreached = at_budget(available(), budget, model.geometry)
    assert len(methods) == len(available()) and not unreached


def test_nothing_is_lost_when_a_part_fails() -> None:
    saved: list[dict] = []

    def bad() -> None:
        raise RuntimeError("CUDA error: an illegal memory access")

    result = run_sections(
        {"one": lambda: 1, "two": bad, "three": lambda: 3}, 60, lambda r: saved.append(dict(r["found"]))
    )
    assert result["found"] == {"one": 1, "three": 3} and "illegal memory access" in result["failed"]["two"]
    assert saved == [{"one": 1}, {"one": 1}, {"one": 1, "three": 3}, {"one": 1, "three": 3}]
    late = run_sections({"one": lambda: 1}, -1, lambda _: None)
    assert late["skipped"] == ["one"] and not late["found"]


def test_a_failed_part_is_reported_and_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llava.eval import gpu

    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image is available")

    for part in ("compare_with_cpu", "check_answers"):
        monkeypatch.setattr(gpu, part, broken)
    monkeypatch.setattr(gpu, "measure_model", broken)
    done = call("gpu", capsys, *TINY, "--output", tmp_path / "gpu")
    assert done.code == 1 and "## Failed: tables tiny" in done.out and "no kernel image" in done.out
    assert list(json.loads((tmp_path / "gpu.json").read_text())["failed"])[0] == "as on the CPU"


def test_peaks_and_shares() -> None:
    assert measure_roof("cpu", torch.float32, 2).flops > 1e8
    row = {"prefill_flops": 5e9, "prefill_ms": 10.0, "kv_bytes": 1e6, "token_ms": 2.0, "compiled_token_ms": 1.0}
    [share] = against(Roof(1e12, 1e10), [row], 9 * 10**6)
    assert share == pytest.approx({"prefill": 0.5, "token": 0.5, "compiled_token": 1.0})
    assert count_syncs(lambda: torch.ones(1).item(), "cpu") is None


def test_aims_say_what_was_reached() -> None:
    def row(tokens: float, end: float, prefill: float, flops: float) -> dict[str, Any]:
        return {"tokens": tokens, "end_to_end_ms": end, "compiled_ms": end / 3, "compiled_first_ms": end / 4,
                "prefill_ms": prefill,
                "prefill_flops": flops, "reduction_ms": 0.02 * prefill}  # fmt: skip

    rows = [row(576, 300, 100, 8e12), row(64, 100, 25, 2e12), row(32, 90, 20, 1e12)]
    load = {"workload": "GQA", "shared_qps": 50.0, "compiled_qps": 80.0, "one_at_a_time_qps": 2.0}
    found = {one["aim"].split(",")[0]: one for one in aims({"7b": {"rows": rows, "throughput": [load]}})}
    reached = {text: (one["reached"], one["met"]) for text, one in found.items()}
    assert reached == {
        "questions per second as in GQA": (40.0, True),
        "one at a time": (3.0, True),
        "end to end with 64 tokens": (3.0, True),
        "end to end": (3.0, True),
        "to the first token": (3.0, True),
        "prefill with 32 tokens": (5 / 8, False),
        "the reduction's own part of a prefill": (0.02, True),
    }


def test_ties_are_judged_by_what_was_chosen() -> None:
    wanted, other = torch.eye(2, 8), torch.eye(2, 8).flip(0)
    same, half, third = [[[1, 2]], [[3, 4]]], [[[1, 9]], [[3, 9]]], [[[1, 2, 3]], [[4, 8, 9]]]
    judged = agreement.agrees
    assert judged(wanted, wanted, same, same, torch.float32, False)
    assert not judged(wanted, other, same, same, torch.float16, False)  # the choices are equal: so must logits be
    assert not judged(wanted, other, same, same, torch.float16, True)
    assert judged(wanted, other, same, half, torch.float16, False)  # ties: another answer
    assert not judged(wanted, other, same, half, torch.float32, False)
    assert judged(wanted, other, same, half, torch.float32, True)
    assert not judged(wanted, other, third, [[[1, 7, 9]], [[5, 6, 7]]], torch.bfloat16, False)


def test_what_is_captured_is_compared_too(replays: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "StaticDecoder", capturing)
    model = random_model(PRESETS["tiny"], "cpu", torch.float32)
    methods, _ = at_budget(["visiondrop", "vispruner", "pyramiddrop"], 20, model.geometry)
    rows = [examine(model, method, True, None) for method in methods]
    assert [(row["method"], row["captured"] is not None) for row in rows] == [
        ("visiondrop", True), ("vispruner", True), ("pyramiddrop", False)
    ]  # fmt: skip
    assert all(row["right"] for row in rows) and replays.replayed
    monkeypatch.setattr(
        static_decoder, "run_prompt", lambda model, state, embeds, _: embeds.new_zeros(len(embeds), 100)
    )
    assert not examine(model, methods[0], True, None)["right"]


def test_another_answer_than_the_cpu_s_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = PRESETS["tiny"], TINY_BUDGET
    rows = compare_with_cpu("cpu", ["none", "visiondrop"], *tiny)
    assert [(row["apart"], row["choices"], row["right"]) for row in rows] == [(0.0, True, True)] * 2
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda self, _: self.lm_head.weight.data.mul_(1.01))
    assert not compare_with_cpu("cpu", ["none"], *tiny)[0]["right"]
