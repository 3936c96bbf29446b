"""Likelihoods in batches, with pictures' work shared, against one call of the model for each."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import PARITY, Load
from PIL import Image

from llava.constants import IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.errors import InputError
from llava.eval.harness.likelihood import Likelihoods
from llava.eval.harness.requests import Request, digest_of
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.generation.prefix_store import PrefixStore

pytestmark = pytest.mark.shallow

METHODS = {
    "none": {},
    "visiondrop": {"dominant": 20, "contextual": 4, "layer_list": [3], "image_token_list": [[8, 2]]},
    "pyramiddrop": {"layer_list": [3, 6], "image_token_ratio_list": [0.5, 0.2]},
}
ASKED = [
    ("What color is it?", "red and blue", ["0.png"]),
    ("What color is it?", "green", ["0.png"]),
    ("What color is the largest shape in the picture?", "green", ["1.png"]),
    ("Which one has a circle?", "the second", ["0.png", "1.png"]),
    ("What is two and two?", "four", []),
]


def request(question: str, answer: Any, names: list[str]) -> Request:
    pictures = [Image.open(PARITY / "images" / name).convert("RGB") for name in names]
    record = {"pictures": pictures, "answer": answer}
    instance = SimpleNamespace(args=(question, lambda doc: doc["answer"], lambda doc: doc["pictures"], 0, "t", "test"))
    return Request.of(instance, {"t": {"test": [record]}})


def likelihoods(loaded: Any) -> Likelihoods:
    return Likelihoods(loaded.model, loaded.tokenizer, loaded.processor, "vicuna_v1", PrefixStore(2**30))


def alone(loaded: Any, question: str, answer: str, names: list[str]) -> tuple[float, bool]:
    """As lmms-eval's `llava` computes it, but for its choice of logits."""
    model, pictures = loaded.model, [Image.open(PARITY / "images" / name).convert("RGB") for name in names]
    conv = conv_templates["vicuna_v1"].copy()
    conv.append_message(conv.roles[0], " ".join(["<image>"] * len(names)) + "\n" * bool(names) + question)
    conv.append_message(conv.roles[1], None)
    before = tokenizer_image_token(conv.get_prompt(), loaded.tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")
    conv.messages[1][1] = answer
    ids = tokenizer_image_token(conv.get_prompt(), loaded.tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")[None]
    labels = ids.clone()
    labels[0, : len(before)] = -100
    pixels = process_images(pictures, loaded.processor, model.config) if pictures else None
    with torch.inference_mode():
        out = model(input_ids=ids, labels=labels, images=pixels, image_sizes=[one.size for one in pictures] or None)
    told = ids.shape[1] - len(before)
    chosen = out.logits[0, -told - 1 : -1].argmax(-1)
    return out.loss.item(), bool((chosen == ids[0, -told:]).all())


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_each_alone(load: Load, method: str) -> None:
    loaded = load("llava-tiny-12l", method, **METHODS[method])
    found = likelihoods(loaded).of([request(*one) for one in ASKED])
    wanted = [alone(loaded, *one) for one in ASKED]
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in wanted], abs=2e-5)
    assert [own for _, own in found] == [own for _, own in wanted]


def test_a_picture_is_encoded_once(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **METHODS["visiondrop"])
    scores, made = likelihoods(loaded), []
    encode = loaded.model.encode_image
    monkeypatch.setattr(loaded.model, "encode_image", lambda *a, **k: made.append(a) or encode(*a, **k))
    scores.of([request(*one) for one in ASKED])
    scores.of([request("And now?", "yes", ["1.png"])])
    assert len(made) == 2 and len(scores.store) == 2


def test_the_models_own_answer_is_its_own_choice(load: Load) -> None:
    loaded = load("llava-tiny-12l")
    first = loaded.tokenizer.decode([41])
    rated = likelihoods(loaded).of([request("What color is it?", first, ["0.png"])])
    assert rated[0][1] is False and rated[0][0] > 1


def test_an_answer_needs_a_token(load: Load) -> None:
    with pytest.raises(InputError, match="needs a token"):
        likelihoods(load("llava-tiny-12l")).of([request("What color is it?", "", ["0.png"])])


def test_what_is_cut_off_is_not_rated(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("llava-tiny-12l")
    monkeypatch.setattr(loaded.model.config, "tokenizer_model_max_length", 80)
    with pytest.raises(InputError, match="tokenizer_model_max_length"):
        likelihoods(loaded).of([request("What color is it? " * 9, "red", ["0.png"])])


def test_pictures_of_the_same_bytes_in_another_shape_are_others() -> None:
    wide, high = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert digest_of(wide) != digest_of(high) and digest_of(wide) == digest_of(wide.copy())
    red, blue = Image.new("P", (2, 2)), Image.new("P", (2, 2))
    red.putpalette([255, 0, 0]), blue.putpalette([0, 0, 255])
    assert digest_of(red) != digest_of(blue)
