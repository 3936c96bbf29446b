"""What LLaVA's own code computes: [CLS] among the features, a prompt that is cut, several images and turns."""

import json

import pytest
import torch
from conftest import PARITY, Load, Loaded
from safetensors import safe_open

from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.trace import Trace

FAMILIES = PARITY / "families"
NEAR = {"atol": 1e-4, "rtol": 0.0}
GREEDY = {"do_sample": False, "eos_token_id": None, "output_logits": True, "return_dict_in_generate": True}


def recorded(name: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors of a case, and its prompts."""
    with safe_open(FAMILIES / f"{name}.safetensors", "pt") as file:
        prompt = file.metadata()["prompt"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return tensors, json.loads(prompt) if prompt.startswith('["') else [prompt]


def pixels(loaded: Loaded, *names: str) -> list[torch.Tensor]:
    """Pictures of the pack as (3, 336, 336)."""
    pictures = [open_image(PARITY / "images" / name) for name in names]
    return list(process_images(pictures, loaded.processor, loaded.model.config))


def agrees(loaded: Loaded, wanted: dict[str, torch.Tensor], ids: torch.Tensor, **arguments: object) -> None:
    """Decoder inputs, logits and tokens are the recorded ones."""
    trace, count = Trace(), wanted["generated_ids"].shape[-1]
    got = loaded.model.generate(ids, **arguments, **GREEDY, max_new_tokens=count, trace=trace)
    assert trace.inputs_embeds is not None
    torch.testing.assert_close(trace.inputs_embeds, wanted["inputs_embeds"].view_as(trace.inputs_embeds), **NEAR)
    logits = torch.stack(got.logits, dim=1)
    torch.testing.assert_close(logits, wanted["logits"].view_as(logits), **NEAR)
    assert torch.equal(got.sequences, wanted["generated_ids"].view_as(got.sequences))


@pytest.mark.parametrize("merge", ["flat", "spatial"])
def test_cls_token_among_the_features(merge: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a picture of one view, whatever would be done with tiles."""
    loaded = load("families/cls-patch")
    monkeypatch.setattr(loaded.model.config, "mm_patch_merge_type", merge, raising=False)
    wanted, (prompt,) = recorded("cls-patch")
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    assert loaded.model.geometry.most_tokens == 577
    agrees(loaded, wanted, ids[None], images=pixels(loaded, "2.png"))


def test_a_cut_prompt_is_cut_as_in_llava_and_that_is_said(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("families/vicuna")
    monkeypatch.setattr(loaded.model.config, "tokenizer_model_max_length", 1024)
    wanted, _ = recorded("truncated")
    images = pixels(loaded, "0.png", "1.png")
    with pytest.warns(UserWarning, match="cut off: with its images it has 1218 tokens, .* allows 1024, so nothing"):
        agrees(loaded, wanted, wanted["input_ids"][None], images=images)


def test_a_text_prompt_beside_one_with_two_images(load: Load) -> None:
    loaded = load("families/vicuna")
    wanted, _ = recorded("batch-left-two-none-one")
    first, second, third = pixels(loaded, "0.png", "1.png", "2.png")
    images = [first, second, torch.zeros_like(first), third]
    agrees(loaded, wanted, wanted["input_ids"], attention_mask=wanted["attention_mask"], images=images)


# Pictures of each case; a filler for the prompt of text stands where LLaVA needs one.
SEVERAL = {
    "two-images": ["0.png", "1.png"],
    "second-turn": ["3.png"],
    "two-turns-two-images": ["0.png", "2.png"],
    "image-first-and-last": ["2.png", "1.png"],
    "batch-left": ["0.png", None, "1.png"],
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_images_and_turns(load: Load, name: str) -> None:
    loaded = load("families/vicuna")
    wanted, prompts = recorded(name)
    ids, mask = wanted["input_ids"], wanted.get("attention_mask")
    made = [tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt") for prompt in prompts]
    real = [ids] if mask is None else [row[kept.bool()] for row, kept in zip(ids, mask)]
    assert all(torch.equal(one, other) for one, other in zip(made, real, strict=True))
    images = [pixels(loaded, of)[0] if of is not None else torch.zeros(3, 336, 336) for of in SEVERAL[name]]
    agrees(loaded, wanted, ids.view(len(prompts), -1), attention_mask=mask, images=images)


@torch.no_grad()
def test_a_labelled_batch_padded_on_the_right(load: Load) -> None:
    loaded = load("families/vicuna")
    wanted, _ = recorded("batch-right")
    first, last = pixels(loaded, "0.png", "1.png")
    batch = {name: wanted[name] for name in ("input_ids", "attention_mask", "labels")}
    got = loaded.model(**batch, images=[first, torch.zeros_like(first), last])
    torch.testing.assert_close(got.loss, wanted["loss"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(got.logits[:, -12:], wanted["last_logits"], **NEAR)
