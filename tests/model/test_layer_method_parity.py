"""The official implementations of methods inside the LLM, end to end: tokens, sequences, logits and answers."""

import json
from typing import Any

import pytest
import torch
from conftest import PARITY, Load, sample
from safetensors.torch import load_file

from llava import reduction
from llava.model.trace import Trace
from llava.reduction.selection import Selection

PACK = PARITY / "methods/llm"
CASES = json.loads((PACK / "cases.json").read_text())
NEAR = {"atol": 1e-4, "rtol": 0.0}
# What an official setting says of the picture or of the program around it.
ELSEWHERE = {"fast_v_image_token_length", "use_cache", "image_token_start", "image_token_length"}
# As published only: by default DART keeps the number that it is told to, in another order of turns.
PUBLISHED = {"dart": (True,), "sparsevlm": (True, False)}


def settings_of(case: dict) -> list[dict[str, Any]]:
    """The case's settings, and in how many ways they must give the recorded numbers."""
    settings = {name: value for name, value in case["params"].items() if name not in ELSEWHERE}
    ways = PUBLISHED.get(case["method"])
    return [settings] if ways is None else [settings | {"published": way} for way in ways]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(load: Load, case: dict) -> None:
    loaded, wanted = load(case["checkpoint"]), load_file(PACK / f"{case['name']}.safetensors")
    asked = sample(loaded, case["question"], case["image"])
    assert torch.equal(asked.input_ids[0], wanted["input_ids"].long())
    for settings in settings_of(case):
        method, trace = reduction.create(case["method"], **settings), Trace()
        loaded.model.reduction = method
        got = loaded.model.generate(
            **asked._asdict(),
            do_sample=False,
            max_new_tokens=case["new_tokens"],
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
            trace=trace,
        )
        assert len(trace.stages) == len(method.layers)
        for number, stage in enumerate(trace.stages, 1):
            start = f"stage{number}."
            recorded = {key.removeprefix(start): value for key, value in wanted.items() if key.startswith(start)}
            _check_stage(stage.selection, recorded)
            if "hidden_out" in recorded:
                torch.testing.assert_close(stage.leaving[0], recorded["hidden_out"], **NEAR)
            else:
                assert method.masks and stage.leaving is stage.entering
        chosen = [stage.selection.kept[0] for stage in trace.later]
        again = wanted.get("decode.topk")
        assert len(chosen) == (0 if again is None else len(again))
        if again is not None:
            assert torch.equal(torch.stack(chosen), again.long().sort(dim=1).values)
        torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
        assert torch.equal(got.sequences[0], wanted["generated_ids"].long())


def _check_stage(selection: Selection, recorded: dict[str, torch.Tensor]) -> None:
    assert torch.equal(selection.kept[0], recorded["kept"].long())
    if "score" in recorded:
        torch.testing.assert_close(selection.scores[0], recorded["score"], **NEAR)
    if "merge_candidates" in recorded:
        assert selection.merged is not None
        candidates = recorded["merge_candidates"].long()
        assert set((selection.merged.assignment[0] >= 0).nonzero().flatten().tolist()) == set(candidates.tolist())
        if "centers" in recorded:
            assert torch.equal(selection.merged.targets[0], candidates[recorded["centers"].long()])


def test_every_case_that_was_recorded_is_run() -> None:
    """So that the loop above cannot pass by comparing nothing."""
    assert {path.stem for path in PACK.glob("*.safetensors")} == {case["name"] for case in CASES} and len(CASES) == 14
    assert {case["method"] for case in CASES} == {"fastv", "dart", "sparsevlm"}
    assert {case["params"].get("mode") for case in CASES} == {None, "kvcache", "inplace", "mask"}
