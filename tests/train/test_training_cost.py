"""The table of training's cost: what each mode trains, methods in turn, ratios beside what is counted."""

import sys
from typing import Any

import pytest
import torch

from llava.errors import InputError
from llava.eval.speed.clock import Work
from llava.eval.speed.flops import count
from llava.reduction import Reduction, method_class, name_of
from llava.train import cost
from llava.train.cost import MODES, Prepared, build_parser, measure_bytes, measure_seconds, prepare, table

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
    before = [weight.detach().clone() for weight in prepared.model.parameters()]
    for method in prepared.methods:
        prepared.step(method)
        assert prepared.llava.reduction is method
    moved = [not torch.equal(old, weight) for old, weight in zip(before, prepared.model.parameters(), strict=True)]
    assert any(moved) and all(weight.requires_grad for weight, new in zip(prepared.model.parameters(), moved) if new)


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
    """The house's clock runs the methods in turn; operations are counted, bytes are this process's."""
    args, stepped, turns = given(), [], []
    step = Prepared.step

    def noted(self: Prepared, method: Reduction) -> None:
        stepped.append(name_of(method))
        step(self, method)

    def clocked(works: dict[str, Work], repeats: int, device: str, clock: str) -> dict[str, float]:
        turns.append((list(works), repeats, device, clock))
        for work in works.values():
            work.run(work.prepare())
        return {name: float(place) for place, name in enumerate(works, 1)}

    monkeypatch.setattr(Prepared, "step", noted)
    monkeypatch.setattr(cost, "medians", clocked)
    timed = measure_seconds(args, "full")
    assert turns == [(list(METHODS), 1, "cpu", "wall")] and stepped == list(METHODS)
    prepared = prepare(args, "full")
    counted = [count(prepared.llava, method, args.text_tokens, 0, 1).prefix for method in prepared.methods]
    assert timed["flops"] == counted and counted[0] > counted[1]
    assert timed["seconds"] == [1.0, 2.0] and "torch" in timed["machine"]
    assert measure_bytes(given("--methods", "none"), "projector") > 2**20


def test_the_first_method_is_the_measure_where_none_is_not_asked() -> None:
    rows = {("full", "random"): {"seconds": 1, "flops": 2, "bytes": 2**30}}
    assert table(rows).splitlines()[-1] == "| full | random | 1 | 1.00x | 1.00x | 1.00 GiB | 1.00x |"


def test_a_budget_out_of_reach_is_refused() -> None:
    with pytest.raises(InputError, match="pyramiddrop at 1 is not there"):
        prepare(given("--retain", "1", "--methods", "pyramiddrop"), "full")
