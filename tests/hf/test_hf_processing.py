"""Prompts and pictures as transformers' own processors make them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import PARITY
from hf_folders import hosts, qwens  # noqa: F401  fixtures
from transformers.utils import is_torchvision_available

from llava.mm_utils import open_image
from llava.model.builder import load_pretrained_model

IMAGES = PARITY / "families" / "images"
KINDS = {
    "qwen2": ("Qwen2VLProcessor", "Qwen2VLVideoProcessor", "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen2_5": ("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor", "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen3": ("Qwen3VLProcessor", "Qwen3VLVideoProcessor", "<|vision_start|><|image_pad|><|vision_end|>"),
    "internvl": ("InternVLProcessor", "InternVLVideoProcessor", "<IMG_CONTEXT>"),
}


@pytest.fixture(scope="module")
def own(hosts: dict[str, Path]) -> dict[str, Any]:
    return {name: load_pretrained_model(str(hosts[name]), None, "x", device="cpu")[2] for name in KINDS}


def test_internvl_sees_tiles_whatever_its_file_says(hosts: dict[str, Path], own: dict[str, Any]) -> None:
    """`crop_to_patches` is false where nobody set it, which transformers' processor does not go by."""
    assert json.loads((hosts["internvl"] / "preprocessor_config.json").read_text())["crop_to_patches"] is False
    pixels = own["internvl"].pixels([open_image(IMAGES / "tall.png")])
    assert int(pixels["num_patches"][0]) == len(pixels["pixel_values"]) == 3 + 1


@pytest.mark.parametrize("name", KINDS)
def test_a_placeholder_is_spread_over_a_pictures_tokens(name: str, own: dict[str, Any]) -> None:
    processor, prompt = own[name], "Two: <image> and\n<image>. Which?"
    ids = processor.compact(prompt, 2)
    spread = processor.spread(ids, [3, 2])
    assert (ids == processor.placeholder).sum() == 2 and (spread == processor.placeholder).sum() == 5
    assert torch.equal(spread, processor.ids(prompt, [3, 2]))
    assert torch.equal(spread[spread != processor.placeholder], ids[ids != processor.placeholder])


@pytest.mark.parametrize("name", KINDS)
def test_inputs_are_those_of_transformers_processor(name: str, own: dict[str, Any]) -> None:
    if not is_torchvision_available():
        pytest.skip("transformers makes processors that take videos with torchvision alone")
    kind, videos, mark = KINDS[name]
    seen, tokenizer = getattr(transformers, videos)(), own[name].tokenizer
    eyes, more = type(own[name].image_processor), {}
    file = {**own[name].image_processor.to_dict(), "crop_to_patches": False}
    file = {key: value for key, value in file.items() if not key.startswith(("_", "image_processor_type"))}
    if name == "internvl":
        file.pop("patch_size", None)
        more["image_seq_length"] = own[name].per_tile
        named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
        for word, token in {**named, "video_token": "<video>"}.items():
            setattr(tokenizer, word, token)
            setattr(tokenizer, f"{word}_id", tokenizer.convert_tokens_to_ids(token))
    else:
        file.pop("crop_to_patches")
    tokenizer.padding_side = "left"
    theirs = getattr(transformers, kind)(eyes(**file), tokenizer, seen, **more)
    pictures = [open_image(IMAGES / image) for image in ("tall.png", "wide.png")]
    prompts = [f"Look: {mark} What is it?", f"{mark}\nAnd this one?"]
    wanted = theirs(text=prompts, images=pictures, padding=True, return_tensors="pt")
    got = own[name](text=prompts, images=pictures)
    for key in got:
        real = got["attention_mask"].bool()
        one, other = (made[key][real] if key == "input_ids" else made[key] for made in (got, wanted))
        assert torch.equal(one, other), key
