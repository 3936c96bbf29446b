"""transformers' layout and the original one of the same weights give the same answers under every method."""

from typing import Any

import pytest
import torch
from as_transformers import as_transformers
from conftest import PARITY, Load

import llava.hf
from llava.errors import InputError
from llava.hf.families import FAMILIES
from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.trace import Trace
from llava.reduction.resolve import resolve

PICTURES = PARITY / "families" / "images"
# Checkpoints of CLIP seen once, of CLIP and of SigLIP seen in tiles.
CHECKPOINTS = {"llava-tiny": 96, "families/mistral-next": 320, "families/ov-qwen": 320}
METHODS = FAMILIES["LlavaForConditionalGeneration"].methods()


def settings_of(model: Any, method: str, retain: int) -> dict[str, Any]:
    """The method's schedule for a budget, or for a larger one where it has none so small."""
    if method == "none":
        return {}
    for budget in (retain, 2 * retain, 4 * retain, 8 * retain, 16 * retain):
        try:
            resolve({"method": method, "retain": budget}, model.geometry)
            return {"retain": budget}
        except InputError as failure:
            reason = failure
    pytest.skip(str(reason))


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """What does not depend on the method, by checkpoint."""
    return {}


def asked(name: str, loaded: Any, prepared: dict[str, Any]) -> tuple[Any, dict[str, torch.Tensor], dict[str, Any]]:
    """transformers' class of a checkpoint, its inputs for a prompt with a picture, and those of this project."""
    if name not in prepared:
        theirs, token = as_transformers(loaded.model)
        picture = open_image(PICTURES / "tall.png")
        pixels = process_images([picture], loaded.processor, loaded.model.config)
        ids = tokenizer_image_token("<image>\nWhat is it?", loaded.tokenizer, return_tensors="pt")
        ours = {"inputs": ids[None], "images": pixels, "image_sizes": [picture.size]}
        whole = Trace()
        loaded.model(ids[None], images=pixels, image_sizes=[picture.size], reduction="none", trace=whole)
        spread = [[token] * whole.layout.spans[0].length if at < 0 else [at] for at in ids.tolist()]
        given = {"input_ids": torch.tensor([sum(spread, [])]), "pixel_values": pixels}
        if name != "llava-tiny":
            given["image_sizes"] = torch.tensor([picture.size[::-1]])
        prepared[name] = theirs, given, ours
    return prepared[name]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*list(CHECKPOINTS)[:-1], pytest.param("families/ov-qwen", marks=pytest.mark.slow)])
@torch.inference_mode()
def test_both_layouts_answer_alike(name: str, method: str, load: Load, prepared: dict[str, Any]) -> None:
    loaded = load(name)
    settings = settings_of(loaded.model, method, CHECKPOINTS[name])
    theirs, given, ours = asked(name, loaded, prepared)
    reduced = llava.hf.reduce(theirs, method, **settings)
    named = {"method": method, **settings}
    seen = {key: value for key, value in ours.items() if key != "inputs"}
    wanted = loaded.model(ours["inputs"], **seen, reduction=named, logits_to_keep=4).logits[0]
    got = reduced(**given, logits_to_keep=4).logits[0, :, : wanted.shape[1]]
    assert reduced.reduction == resolve(named, loaded.model.geometry)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
