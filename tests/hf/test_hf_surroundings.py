"""Reduced models under other kernels, dtypes and hooks, on text alone, and as subclasses of transformers' classes."""

import copy
import inspect
from typing import Any

import accelerate
import pytest
import torch
from test_hf_generate import GREEDY
from tiny_hf import MODELS, inputs
from transformers.generation import BaseStreamer

import llava.hf
from llava.hf.families import family_of

every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_text_alone_is_answered_as_by_the_original(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, [[], []])
    wanted = model.generate(**given, **GREEDY)
    got = llava.hf.reduce(model, "visiondrop", retain=0.3).generate(**given, **GREEDY)
    for one, other in zip(got.logits, wanted.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@every_model
@pytest.mark.parametrize("method", ["visiondrop", "pyramiddrop"])
def test_eager_attention_computes_the_same(name: str, method: str) -> None:
    model = MODELS[name]()
    given = inputs(model, [[0], [1]])
    wanted = llava.hf.reduce(model, method, retain=0.6).generate(**given, **GREEDY)
    model.set_attn_implementation("eager")
    got = llava.hf.reduce(model, method, retain=0.6).generate(**given, **GREEDY)
    for one, other in zip(got.logits, wanted.logits, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


@every_model
def test_half_precision_runs(name: str) -> None:
    model = MODELS[name]().to(torch.bfloat16)
    given = inputs(model, [[0], [1]])
    given["pixel_values"] = given["pixel_values"].to(torch.bfloat16)
    for method in ("visiondrop", "visionzip", "sparsevlm"):
        output = llava.hf.reduce(model, method, retain=0.6).generate(**given, **GREEDY)
        assert output.logits[0].isfinite().all()
        assert all(layer.keys.dtype == torch.bfloat16 for layer in output.past_key_values.layers)


@every_model
def test_weights_that_are_kept_elsewhere_between_calls(name: str) -> None:
    """accelerate's hooks stand on the modules, the outermost among them, and on no clone."""
    plain, offloaded = MODELS[name](), MODELS[name]()
    given, single = inputs(plain, [[0], [1]]), inputs(plain, [[0]])
    accelerate.cpu_offload(offloaded, execution_device=torch.device("cpu"))
    for method in ("visiondrop", "pyramiddrop"):
        both = [llava.hf.reduce(model, method, retain=0.6) for model in (plain, offloaded)]
        one, other = (reduced.generate(**given, **GREEDY).logits for reduced in both)
        shared = [reduced.ask([reduced.encode_image(**single), None], [[7, 8], [9]], **GREEDY) for reduced in both]
        pairs = [*zip(one, other, strict=True), *zip(*(made.logits for made in shared), strict=True)]
        for first, second in pairs:
            torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_a_subclass_is_reduced_as_its_base() -> None:
    model = MODELS["llava"]()
    given = inputs(model, [[0], [1]])
    wanted = llava.hf.reduce(model, "visionzip", retain=0.4)(**given).logits

    class Own(type(model)):  # type: ignore[misc]
        """A user's."""

    model.__class__ = Own
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    assert isinstance(reduced, Own)
    assert torch.equal(reduced(**given).logits, wanted)


def test_signatures_are_the_originals_whatever_else_is_reduced() -> None:
    """By which a trainer decides what columns of a data set it passes, and `generate` what goes with the pictures."""
    made = [(model, llava.hf.reduce(model, "visionzip", retain=0.4)) for model in (make() for make in MODELS.values())]
    inner = [(model, family_of(model).seeing(type(model.model))) for model, _ in made]
    for model, reduced in made:
        assert inspect.signature(reduced.forward) == inspect.signature(model.forward)
    for model, kind in inner:
        wanted = inspect.signature(type(model.model).get_image_features)
        assert inspect.signature(kind.get_image_features) == wanted


def test_a_copy_of_a_reduced_model_reduces() -> None:
    model = MODELS["qwen2_5"]()
    given = inputs(model, [[0], [1]])
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    assert torch.equal(copy.deepcopy(reduced)(**given).logits, reduced(**given).logits)


class Heard(BaseStreamer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def put(self, value: torch.Tensor) -> None:
        self.parts.append(value.flatten())

    def end(self) -> None:
        self.parts.append(None)


@every_model
def test_a_streamer_is_told_every_token(name: str) -> None:
    model, heard = MODELS[name](), Heard()
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    output = reduced.generate(**inputs(model, [[0]]), max_new_tokens=4, do_sample=False, streamer=heard)
    assert heard.parts[-1] is None
    assert torch.equal(torch.cat(heard.parts[:-1]), output[0])
