"""The official implementations of further methods, end to end: the same patches, embeddings, logits and answers."""

import json
from pathlib import Path

import pytest
import torch
from conftest import PARITY, Load, sample
from safetensors.torch import load_file

from llava import reduction
from llava.model.trace import Trace

PACK = PARITY / "methods"
CASES = json.loads((PACK / "cases.json").read_text())
NEAR = {"atol": 1e-4, "rtol": 0.0}


def image_of(case: dict) -> str:
    """The case's picture, relative to the pictures of the pack above."""
    return f"../methods/images/{case['image']}" if (PACK / "images" / case["image"]).exists() else case["image"]


def settings_of(case: dict) -> list[dict]:
    """The case's settings, where the method has the setting with `published` as well, and without the text given."""
    known, params = reduction.method_class(case["method"]).__dataclass_fields__, case["params"]
    found = [params | {"published": True}] if "published" in known else []
    # As mended, HoloV leaves tokens in the picture's order.
    found += [] if case["method"] == "holov" else [params]
    return found + [{name: value for name, value in one.items() if name != "text"} for one in found if "text" in one]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(load: Load, case: dict) -> None:
    loaded, wanted = load(case["checkpoint"]), load_file(PACK / f"{case['name']}.safetensors")
    asked = sample(loaded, case["question"], image_of(case))
    assert torch.equal(asked.input_ids[0], wanted["input_ids"])
    for settings in settings_of(case):
        trace = Trace()
        loaded.model.reduction = reduction.create(case["method"], **settings)
        loaded.model.reduction.check(loaded.model.geometry)
        got = loaded.model.generate(
            **asked._asdict(),
            do_sample=False,
            max_new_tokens=case["new_tokens"],
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
            trace=trace,
        )
        assert trace.encoder is not None and trace.inputs_embeds is not None
        kept = trace.encoder.kept
        assert torch.equal(kept.masked_fill(kept == 576, -1), wanted["vision.kept"].long())
        if "vision.score" in wanted:
            torch.testing.assert_close(trace.encoder.scores, wanted["vision.score"], **NEAR)
        for number, stage in enumerate(trace.stages, start=1):
            assert torch.equal(stage.selection.kept[0], wanted[f"stage{number}.kept"].long())
        torch.testing.assert_close(trace.inputs_embeds[0], wanted["inputs_embeds"], **NEAR)
        torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
        assert torch.equal(got.sequences[0], wanted["generated_ids"])


def test_every_case_that_was_recorded_is_run() -> None:
    """So that the loop above cannot pass by comparing nothing."""
    methods = {
        "fastervlm",
        "vispruner",
        "scope",
        "divprune",
        "holov",
        "hiprune",
        "prumerge",
        "vscan",
        "cdpruner",
        "trim",
    }
    assert {case["method"] for case in CASES} == methods and len(CASES) == 28
    rules_only = {"sparsevlm-64"}
    assert {path.stem for path in Path(PACK).glob("*.safetensors")} == {case["name"] for case in CASES} | rules_only
