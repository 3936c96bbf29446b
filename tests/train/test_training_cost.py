"""The table of training's cost: what each mode trains, methods in turn, ratios beside what is counted."""

import sys
from typing import Any

import pytest

from llava.errors import InputError
from llava.eval.speed.flops import count
from llava.reduction import method_class
from llava.train import cost
from llava.train.cost import MODES, build_parser, measure_bytes, measure_seconds, prepare, table

SMALL = (
    *("--layers", "4", "--width", "32", "--intermediate", "48", "--heads", "1", "--vocabulary", "60", "--steps", "1"),
    *("--vision-layers", "2", "--vision-width", "32", "--vision-heads", "1", "--image-size", "56", "--batch", "1"),
    *("--retain", "10", "--text-tokens", "40", "--device", "cpu"),
)
METHODS = ("none", "visiondrop")


def given(*more: str) -> Any:
    return build_parser().parse_args([*SMALL, "--methods", *METHODS, *more])


@pytest.mark.parametrize(
    ("mode", "trained"), [("full", ("layers", "lm_head")), ("lora", ("lora_A", "lora_B")), ("projector", ())]
)
def test_a_mode_trains_what_it_says(mode: str, trained: tuple[str, ...]) -> None:
    prepared = prepare(given(), mode)
    learns = [name for name, weight in prepared.model.named_parameters() if weight.requires_grad]
    assert all(any(part in name for name in learns) for part in (*trained, "mm_projector"))
    assert not any("vision_tower" in name for name in learns)
    if mode != "full":
        assert all("lora_" in name or "mm_projector" in name for name in learns)
    assert [type(method) for method in prepared.methods] == [method_class(name) for name in METHODS]
    for method in prepared.methods:
        assert prepared.step(method) > 0 and prepared.llava.reduction is method


def test_a_row_for_each_mode_and_method(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    asked = []

    def here(what: str, mode: str, methods: list[str]) -> Any:
        asked.append((what, mode, list(methods)))
        if what == "bytes":
            return {"none": 4, "visiondrop": 3}[methods[0]] * 2**30
        return {"machine": "a machine", "seconds": [2.0, 0.5], "flops": [100, 25]}

    monkeypatch.setattr(cost, "_in_a_process", here)
    monkeypatch.setattr(sys, "argv", ["cost", *SMALL, "--methods", *METHODS])
    cost.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "a machine; float32, LLM 4 layers x 32, CLIP 2 layers x 32, 1 pictures and 40 text tokens"
    )
    assert said[4:6] == [
        "| full | none | 0.5 | 1.00x | 1.00x | 4.00 GiB | 1.00x |",
        "| full | visiondrop | 2 | 4.00x | 0.25x | 3.00 GiB | 0.75x |",
    ]
    assert len(said) == 4 + len(MODES) * len(METHODS)
    turns = [("seconds", list(METHODS)), ("bytes", ["none"]), ("bytes", ["visiondrop"])]
    assert asked == [(what, mode, methods) for mode in MODES for what, methods in turns]


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    args = given()
    timed = measure_seconds(args, "full")
    prepared = prepare(args, "full")
    counted = [count(prepared.llava, method, args.text_tokens, 0, 1).prefix for method in prepared.methods]
    assert timed["flops"] == counted and counted[0] > counted[1]
    assert len(timed["seconds"]) == 2 and min(timed["seconds"]) > 0 and "torch" in timed["machine"]
    assert measure_bytes(given("--methods", "none"), "projector") > 2**20


def test_the_first_method_is_the_measure_where_none_is_not_asked() -> None:
    rows = {("full", "random"): {"seconds": 1, "flops": 2, "bytes": 2**30}}
    assert table(rows).splitlines()[-1] == "| full | random | 1 | 1.00x | 1.00x | 1.00 GiB | 1.00x |"


def test_a_budget_out_of_reach_is_refused() -> None:
    with pytest.raises(InputError, match="pyramiddrop at 1 is not there"):
        prepare(given("--retain", "1", "--methods", "pyramiddrop"), "full")
