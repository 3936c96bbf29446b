"""Loss, gradients and kept tokens of a batch in training, against the official codes."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import PARITY, Load, Loaded
from safetensors.torch import load_file

from llava.mm_utils import open_image, process_images
from llava.model.trace import Trace
from llava.reduction import create

CASES = json.loads((PARITY / "training" / "cases.json").read_text())


def pictures(case: dict, loaded: Loaded) -> dict[str, Any]:
    """Images and sizes as the case's collator made them."""
    config = SimpleNamespace(**loaded.model.config.to_dict() | {"image_aspect_ratio": case["image_aspect_ratio"]})
    shown = [open_image(str(PARITY / "images" / name)) for name in case["pictures"]]
    pixels = [process_images([image], loaded.processor, config)[0] for image in shown]
    return {"images": pixels, "image_sizes": [image.size for image in shown]}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_batch_in_training(load: Load, case: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, wanted = load(case["checkpoint"]), load_file(PARITY / "training" / f"{case['name']}.safetensors")
    model, trace = loaded.model, Trace()
    monkeypatch.setattr(model.config, "tokenizer_model_max_length", case["model_max_length"], raising=False)
    batch = {name: wanted[name] for name in ("input_ids", "attention_mask", "labels")}
    method = create(case["method"], **case["settings"])
    model.zero_grad()
    model.train()
    try:
        out = model(**batch, **pictures(case, loaded), reduction=method, trace=trace)
        out.loss.backward()
    finally:
        model.eval()
    torch.testing.assert_close(out.loss, wanted["loss"][0], atol=2e-6, rtol=0)
    parameters = dict(model.named_parameters())
    for name in (name for name in wanted if name.startswith("grad.")):
        gradient = parameters[name.removeprefix("grad.")].grad
        assert (gradient - wanted[name]).abs().max() <= 2e-5 * wanted[name].abs().max(), name
    for number in range(len(case["settings"].get("image_token_ratio_list", []))):
        kept = [name for name in sorted(wanted) if name.startswith(f"stage{number}.") and name.endswith(".kept")]
        selection = trace.stages[number].selection
        assert [row.tolist() for row in selection.kept] == [wanted[name].tolist() for name in kept]
        rows = [(stage_labels != -100).sum() for stage_labels in wanted[f"stage{number}.labels"]]
        assert rows == [(row[1:] != -100).sum() for row in wanted["labels"]]  # no text is ever dropped
    model.zero_grad()


@pytest.mark.parametrize("case", [case for case in CASES if case["name"] in ("visiondrop_one", "pdrop_three_mixed")])
def test_gradient_checkpointing_changes_no_gradient(load: Load, case: dict) -> None:
    loaded, wanted = load(case["checkpoint"]), load_file(PARITY / "training" / f"{case['name']}.safetensors")
    model, method = loaded.model, create(case["method"], **case["settings"])
    batch = {name: wanted[name] for name in ("input_ids", "attention_mask", "labels")} | pictures(case, loaded)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**batch, reduction=method, use_cache=False).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.train()
    try:
        plain = gradients()
        model.gradient_checkpointing_enable()
        again = gradients()
    finally:
        model.gradient_checkpointing_disable()
        model.eval()
        model.zero_grad()
    assert plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)
