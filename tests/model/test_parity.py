"""The official implementations' outputs, case by case: what decides whether this project is right."""

import json

import pytest
import torch
from conftest import CASES, PARITY, Load, reduction_of, reference, sample

from llava.conversation import get_conv_template
from llava.mm_utils import tokenizer_image_token
from llava.model.trace import Trace

NEAR = {"atol": 1e-4, "rtol": 0.0}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(load: Load, case: dict) -> None:
    loaded, wanted, trace = load(case["checkpoint"]), reference(case), Trace()
    loaded.model.reduction = reduction_of(case)
    asked = sample(loaded, case["question"], case["image"])
    assert torch.equal(asked.input_ids[0], wanted["input_ids"])
    assert "pixel_values" not in wanted or torch.equal(asked.images[0], wanted["pixel_values"])

    count = len(wanted["generated_ids"])
    got = loaded.model.generate(
        **asked._asdict(),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
        trace=trace,
    )

    if "vision.topk" in wanted:
        assert trace.encoder is not None
        assert torch.equal(trace.encoder.kept, wanted["vision.topk"].long().sort(-1).values)
    assert trace.inputs_embeds is not None
    torch.testing.assert_close(trace.inputs_embeds[0], wanted["inputs_embeds"], **NEAR)
    stages = sum(name.endswith(".topk") for name in wanted) - ("vision.topk" in wanted)
    assert len(trace.stages) == stages
    for number, stage in enumerate(trace.stages, 1):
        assert torch.equal(stage.selection.kept[0], wanted[f"stage{number}.topk"].long().sort().values)
        torch.testing.assert_close(stage.entering[0], wanted[f"stage{number}.hidden_in"], **NEAR)
        torch.testing.assert_close(stage.leaving[0], wanted[f"stage{number}.hidden_out"], **NEAR)
    torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
    assert torch.equal(got.sequences[0], wanted["generated_ids"])


def test_every_method_has_a_case_with_stages_where_it_has_any() -> None:
    """So that the loop above cannot pass by comparing nothing."""
    staged = {case["method"] for case in CASES if any("stage1" in name for name in reference(case))}
    assert staged == {"visiondrop", "pdrop"}
    assert {case["method"] for case in CASES} == {"visiondrop", "visionzip", "pdrop", "llava"}


@pytest.mark.parametrize(("text", "ids"), json.loads((PARITY / "tokenizer_cases.json").read_text()).items())
def test_text_becomes_llavas_ids(load: Load, text: str, ids: list[list[int]]) -> None:
    tokenizer = load("llava-tiny").tokenizer
    assert [tokenizer(piece).input_ids for piece in text.split("<image>")] == ids


def test_prompt_is_the_one_recorded(load: Load) -> None:
    from safetensors import safe_open

    for case in CASES:
        conversation = get_conv_template("vicuna_v1")
        conversation.append_message(conversation.roles[0], f"<image>\n{case['question']}")
        conversation.append_message(conversation.roles[1], None)
        with safe_open(PARITY / f"{case['name']}.safetensors", "pt") as file:
            assert file.metadata()["prompt"] == conversation.get_prompt()
            ids = tokenizer_image_token(conversation.get_prompt(), load(case["checkpoint"]).tokenizer)
            assert ids == file.get_tensor("input_ids").tolist()
