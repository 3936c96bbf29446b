"""Reduced models of every class in transformers' own pipeline."""

import pytest
import torch
import transformers
from hf_processors import WITH_VIDEOS, processor, shown
from PIL import Image
from tiny_hf import MODELS
from transformers.utils import is_torchvision_available

import llava.hf

METHODS = [("none", {}), ("visiondrop", {"retain": 0.3})]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_image_text_to_text(name: str, method: str, settings: dict[str, float]) -> None:
    if name in WITH_VIDEOS and not is_torchvision_available():
        pytest.skip("transformers makes this class's processor, which takes videos, with torchvision alone")
    reduced, own = llava.hf.reduce(MODELS[name](), method, **settings), processor(name)
    pipe = transformers.pipeline("image-text-to-text", model=reduced, processor=own)
    picture = Image.radial_gradient("L").convert("RGB").resize((120, 90))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "w8 w9"}]
    greedy = {"max_new_tokens": 5, "do_sample": False}
    [answer] = pipe(text=[{"role": "user", "content": content}], generate_kwargs=greedy)
    given = own(images=picture, text=f"{shown(name)} w8 w9", return_tensors="pt")
    wanted = reduced.generate(**given, **greedy)[0, given["input_ids"].shape[1] :]
    told = answer["generated_text"][-1]["content"]
    assert told.strip() == own.tokenizer.decode(wanted, skip_special_tokens=True).strip() != ""
    whole = MODELS[name]().generate(**given, **greedy)[0, given["input_ids"].shape[1] :]
    assert torch.equal(whole, wanted) == (method == "none"), "the method acts on this picture"
