"""The tables and the picture, on a shape small enough for a test; counted operations against torch's counter."""

import json
from pathlib import Path

import pytest
import torch
from commands import call
from torch.utils.flop_counter import FlopCounterMode

from llava.eval.speed.breakdown import PARTS, parts_of_one
from llava.eval.speed.clock import Work, medians
from llava.eval.speed.flops import count
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.throughput import BEFORE, WORKLOADS, Questions
from llava.reduction import method_class

SMALL = ["--layers", 8, "--width", 64, "--intermediate", 128, "--heads", 4, "--vocabulary", 100]
SMALL += ["--vision-layers", 3, "--vision-width", 32, "--vision-heads", 2, "--repeats", 2, "--new-tokens", 2]


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "figures/latency.json"
    small = [*SMALL, "--device", "cpu", "--retain", 64, 32, "--workloads", "--json", path]
    done = call("benchmark", capsys, *small)
    assert done.code == 0
    result = json.loads(path.read_text())
    rows = result["rows"]
    assert [row["method"] for row in rows] == ["none", "visiondrop", "visiondrop"]
    assert [round(row["tokens"]) for row in rows] == [576, 64, 32]
    for row in rows:
        assert row["kv_bytes"] == row["kv_bytes_by_count"] > 0
        assert min(row["encoder_ms"], row["prefill_ms"]) > 0 and row["token_ms"] >= 0
        assert row["end_to_end_ms"] > row["encoder_ms"] and row["compiled_ms"] is None
        assert row["peak_bytes"] is None or row["peak_bytes"] > row["kv_bytes"]
    assert [row["reduction_ms"] > 0 for row in rows] == [False, True, True]
    # Keys and values of 8 layers, 64 wide, float32, of 55 text tokens and 576 image tokens.
    assert rows[0]["kv_bytes"] == 8 * 2 * 64 * 4 * (55 + 576)
    assert rows[2]["kv_bytes"] == 2 * 2 * 64 * 4 * sum(55 + count for count in (48, 35, 26, 19))
    assert rows[0]["prefill_flops"] > rows[1]["prefill_flops"] > rows[2]["prefill_flops"]
    assert result["command"].startswith("python -m llava.eval.benchmark --layers 8")
    assert done.out.count("\n| ") == 4 and done.out.endswith(f"written to {path}\n")


def test_throughput_parts_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, picture = tmp_path / "speed.json", tmp_path / "figures/speed.png"
    flags = ["--device", "cpu", "--retain", 32, "--workloads", "GQA", "VizWiz", "--batch-size", 4, "--clock", "cpu"]
    done = call("benchmark", capsys, *SMALL, *flags, "--json", path, "--figure", picture)
    assert done.code == 0 and f"drawn in {picture}" in done.out and "cpu time" in done.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = json.loads(path.read_text())
    gqa, vizwiz = result["throughput"]
    assert (gqa["workload"], gqa["questions_per_image"], gqa["questions"]) == ("GQA", 32, 32)
    assert (vizwiz["workload"], vizwiz["questions_per_image"], vizwiz["questions"]) == ("VizWiz", 1, 4)
    assert gqa["allowed_by_flops"] > 2 and vizwiz["allowed_by_flops"] == 1
    for row in (gqa, vizwiz):
        assert row["speedup"] == pytest.approx(row["shared_qps"] / row["one_at_a_time_qps"])
        assert row["share_of_allowed"] == pytest.approx(row["speedup"] / row["allowed_by_flops"])
        assert row["batched_qps"] > 0 and row["compiled_qps"] is None
    assert list(result["parts"]) == [
        "no reduction, one at a time", "reduced, one at a time", "reduced, 32 questions shared"
    ]  # fmt: skip
    assert all(set(times) == set(PARTS) and min(times.values()) >= 0 for times in result["parts"].values())


def test_compiled_ways_are_measured_too(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda layer, **_: layer)
    path = tmp_path / "speed.json"
    flags = ["--device", "cpu", "--retain", 32, "--workloads", "VizWiz", "--batch-size", 2, "--compile"]
    done = call("benchmark", capsys, *SMALL, *flags, "--json", path)
    result = json.loads(path.read_text())
    assert done.code == 0 and "compiled ms" in done.out and "and compiled" in done.out
    assert all(row["compiled_ms"] > 0 for row in result["rows"]) and result["throughput"][0]["compiled_qps"] > 0


@torch.no_grad()
@pytest.mark.parametrize("per_image", [1, 4])
def test_counted_operations_are_those_of_torch(per_image: int) -> None:
    """Without reduction and with questions of one length; torch counts attention as all pairs too."""
    shape = Shape(4, 64, 128, 4, 3, 32, 2, vocabulary=100)
    model = random_model(shape, "cpu", torch.float32, "eager")  # torch does not count its fused attention
    load = Questions(model, per_image, per_image, new_tokens=4)
    load.asked = [[5] * 20 for _ in load.asked]
    counted = count(model, method_class("none")(), BEFORE, 20, 4)
    with FlopCounterMode(display=False) as counter:
        load.shared(per_image)
    # It also counts the products of positions and frequencies.
    assert counter.get_total_flops() == pytest.approx(per_image * counted.per_question(per_image), rel=1e-3)
    with FlopCounterMode(display=False) as counter:
        load.one_at_a_time(1)
    # A whole prompt is counted at once: its attention pairs include those of the prefix with the question.
    assert counter.get_total_flops() == pytest.approx(counted.per_question(), rel=0.02)


@torch.no_grad()
def test_counted_operations_of_several_views_are_those_of_torch() -> None:
    """A base view and 2 x 2 tiles of 16 patches, with the newlines that nothing projects; and what is reduced."""
    shape = Shape(4, 64, 128, 4, 3, 32, 2, image_size=56, vocabulary=100, grid=2)
    model = random_model(shape, "cpu", torch.float32, "eager")
    load = Questions(model, 1, 1, new_tokens=4)
    load.asked = [[5] * 20 for _ in load.asked]
    assert model.geometry.views == 5 and model.geometry.most_tokens == 5 * 16 + 8
    for method in (method_class("none")(), method_class("visionzip").from_budget(40, model.geometry)):
        model.reduction = method
        counted = count(model, method, BEFORE, 20, 4)
        with FlopCounterMode(display=False) as counter:
            load.shared(1)
        # VisionZip's own comparison of patches is not counted.
        assert counter.get_total_flops() == pytest.approx(counted.per_question(), rel=0.03 if vars(method) else 1e-3)


def test_llava_next_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "next.json"
    shape = ["--preset", "next", "--image-size", 112, "--workloads", "--json", path]
    done = call("benchmark", capsys, *SMALL, *shape, "--device", "cpu", "--retain", 80, 20)
    assert done.code == 0, done.err
    rows = json.loads(path.read_text())["rows"]
    assert [round(row["tokens"]) for row in rows] == [5 * 64 + 16, 80, 20]
    assert all(row["kv_bytes"] == row["kv_bytes_by_count"] > 0 for row in rows)


def test_the_counted_operations_of_llava_next_are_near_the_papers(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """46.25 TFLOPs of 2880 tokens, 7.70 at 320: 6.0x fewer. The paper does not say how much text it counts."""
    path = tmp_path / "next.json"
    assert call("benchmark", capsys, "--on-paper", "--preset", "next-7b", "--json", path).code == 0
    counted = {round(row["tokens"]): row["flops_per_question"] for row in json.loads(path.read_text())["rows"]}
    assert list(counted) == [2928, 640, 320, 160]
    assert counted[2928]["VizWiz"] == pytest.approx(46.25e12, rel=0.05)
    assert counted[320]["VizWiz"] == pytest.approx(7.70e12, rel=0.15)


def test_workloads_have_the_questions_of_the_benchmarks() -> None:
    """GQA 12,578 on 398 images, POPE 9,000 on 500, VQAv2 107,394 on 36,807, MME 2,374 on 1,187, VizWiz 8,000."""
    assert WORKLOADS == {"GQA": 12578 // 398 + 1, "POPE": 9000 // 500, "VQAv2": 3, "MME": 2, "VizWiz": 1}


def test_works_are_timed_in_turn_and_preparation_is_not() -> None:
    order: list[str] = []
    works = {
        "a": Work(lambda given: order.append(given), lambda: "prepared"),
        "b": Work(lambda _: sum(range(10**6))),
        "c": Work(lambda _: order.append("c")),
    }
    times = medians(works, 3, "cpu", "cpu")
    assert order == ["prepared", "c"] * 4
    assert times["b"] > times["a"] and times["b"] > times["c"]


def test_the_rest_is_what_end_to_end_has_more() -> None:
    row = {"encoder_ms": 10, "prefill_ms": 20, "reduction_ms": 2, "token_ms": 3, "end_to_end_ms": 80}
    parts = parts_of_one(row, measured_tokens=16, new_tokens=4)
    assert parts == dict(zip(PARTS, (10, 18, 2, 0, 9, 5)))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--retain", 0], "--retain: must be a whole number of at least 1: got '0'"),
        (["--retain", 1], "--retain of visiondrop must leave fewer tokens at each stage: got 1, which gives 2, 2, 2"),
        (["--retain", 5000], "must not exceed what the encoder has"),
        (["--repeats", 0], "--repeats: must be a whole number of at least 1"),
        (["--new-tokens", 0], "--new-tokens: must be a whole number of at least 1"),
        (["--workloads", "--figure", "a.png"], "--figure draws the throughput table: got no --workloads"),
        (["--workloads", "COCO"], "--workloads: invalid choice: 'COCO'"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture, flags: list, complaint: str) -> None:
    done = call("benchmark", capsys, *SMALL, *flags)
    assert done.code == 2 and complaint in done.err and done.err.count("\n") == 0
