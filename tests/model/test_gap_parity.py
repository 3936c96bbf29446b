"""The official implementation of G-Prune, end to end: tokens, positions with gaps, logits and answers."""

import json
from typing import Any

import pytest
import torch
from conftest import PARITY, Load, Loaded, sample
from safetensors.torch import load_file

from llava import reduction
from llava.model.trace import Trace

PACK = PARITY / "methods/gaps"
CASES = json.loads((PACK / "cases.json").read_text())
NEAR = {"atol": 1e-4, "rtol": 0.0}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}


class Rotated:
    """The positions that a model's rotary embedding is asked for while this is entered."""

    def __init__(self, loaded: Loaded) -> None:
        self.positions: list[torch.Tensor] = []
        self._rotary = loaded.model.get_model().rotary_emb

    def __enter__(self) -> list[torch.Tensor]:
        def look(module: Any, args: Any, kwargs: Any) -> None:
            self.positions.append(kwargs["position_ids"])

        self._hook = self._rotary.register_forward_pre_hook(look, with_kwargs=True)
        return self.positions

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(load: Load, case: dict) -> None:
    loaded, wanted = load(case["checkpoint"]), load_file(PACK / f"{case['name']}.safetensors")
    asked, trace = sample(loaded, case["question"], case["image"]), Trace()
    assert torch.equal(asked.input_ids[0], wanted["input_ids"])
    loaded.model.reduction = reduction.create(case["method"], **case["params"])
    greedy = {"do_sample": False, "max_new_tokens": case["new_tokens"], "eos_token_id": None, **LOGITS}
    with Rotated(loaded) as positions:
        got = loaded.model.generate(**asked._asdict(), **greedy, trace=trace)
    assert torch.equal(positions[0][0], wanted["position_ids"])
    assert torch.equal(torch.cat(positions[1:]).flatten(), wanted["decode.position_ids"])
    _check_choice(trace, wanted)
    torch.testing.assert_close(trace.inputs_embeds[0], wanted["inputs_embeds"], **NEAR)
    torch.testing.assert_close(torch.cat(got.logits), wanted["logits"], **NEAR)
    assert torch.equal(got.sequences[0], wanted["generated_ids"])

    if case != CASES[0]:
        return
    with Rotated(loaded) as positions:  # the same by way of an image that questions share
        prefix = loaded.model.encode_image(asked.input_ids, asked.images, asked.image_sizes)
        shared = loaded.model.ask(prefix, [asked.input_ids], **greedy)
    assert torch.equal(torch.cat(positions[:2], dim=1)[0], wanted["position_ids"])
    assert torch.equal(torch.cat(positions[2:]).flatten(), wanted["decode.position_ids"])
    torch.testing.assert_close(torch.cat(shared.logits), wanted["logits"], **NEAR)


def _check_choice(trace: Trace, wanted: dict[str, torch.Tensor]) -> None:
    """Base view first, then the tiles' patches by rows that end with a newline each."""
    assert trace.encoder is not None and trace.order is not None
    newline = trace.order == trace.order.max()
    base = len(wanted["vision.score_base"])
    kept = torch.zeros(len(trace.order), dtype=torch.bool)
    kept[trace.encoder.kept[0]] = True
    assert kept[newline].all() and newline.any() and not newline[:base].any()
    assert torch.equal(kept[:base].nonzero()[:, 0], wanted["vision.topk_base"].long().sort().values)
    assert torch.equal(kept[~newline][base:].nonzero()[:, 0], wanted["vision.topk_grid"].long().sort().values)
    scores = trace.encoder.scores[0][~newline]
    torch.testing.assert_close(scores[:base], wanted["vision.score_base"], **NEAR)
    torch.testing.assert_close(scores[base:], wanted["vision.score_grid"], **NEAR)


def test_every_case_that_was_recorded_is_run() -> None:
    """So that the loop above cannot pass by comparing nothing."""
    assert {path.stem for path in PACK.glob("*.safetensors")} == {case["name"] for case in CASES} and len(CASES) == 2
