"""A model that PEFT has wrapped: a method reaches it, and what cannot work is refused in words."""

import copy
from typing import Any

import pytest
import torch
from conftest import Load, Loaded, sample

from llava.errors import InputError
from llava.mm_utils import tokenizer_image_token
from llava.reduction import create

pytestmark = pytest.mark.shallow

peft = pytest.importorskip("peft")
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 5}
DROP = create(
    "visiondrop", dominant=50, contextual=14, layer_list=[2, 5, 9], image_token_list=[[33, 7], [20, 5], [9, 1]]
)
TUNINGS = ["PrefixTuningConfig", "PromptTuningConfig", "PromptEncoderConfig"]


@pytest.fixture
def loaded(load: Load) -> Loaded:
    """A copy of the 12-layer checkpoint, for PEFT to change."""
    found = load("llava-tiny-12l")
    return found._replace(model=copy.deepcopy(found.model))


@torch.no_grad()
def test_a_method_assigned_to_the_wrapper_reaches_the_model(loaded: Loaded) -> None:
    asked, model = sample(loaded, "What color is the circle?", "0.png"), loaded.model
    full, reduced = (model.generate(**asked._asdict(), reduction=method, **GREEDY) for method in (create("none"), DROP))
    logits = [model(asked.input_ids, images=asked.images, reduction=method).logits for method in (create("none"), DROP)]
    assert not torch.equal(full, reduced) and logits[0].shape != logits[1].shape
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert torch.equal(wrapped.generate(**asked._asdict(), **GREEDY), full)
    wrapped.reduction = DROP
    assert torch.equal(wrapped.generate(**asked._asdict(), **GREEDY), reduced)
    assert torch.equal(wrapped(input_ids=asked.input_ids, images=asked.images).logits, logits[1])
    none = {"reduction": create("none")}  # what a call names comes first
    assert torch.equal(wrapped.generate(**asked._asdict(), **none, **GREEDY), full)
    wrapped.reduction = None
    assert torch.equal(wrapped.generate(**asked._asdict(), **GREEDY), full)
    del wrapped.reduction
    wrapped.get_base_model().reduction = DROP
    assert torch.equal(wrapped.generate(**asked._asdict(), **GREEDY), reduced)
    assert wrapped.reduction == DROP
    wrapped.reduction = create("pyramiddrop")
    with pytest.raises(InputError, match="layer_list must stay below"):
        wrapped.generate(**asked._asdict(), **GREEDY)


def test_lora_trains_under_a_method(loaded: Loaded) -> None:
    asked = sample(loaded, "What color is the circle?", "0.png")
    wrapped = peft.get_peft_model(loaded.model, peft.LoraConfig(r=4, target_modules=["v_proj"], task_type="CAUSAL_LM"))
    wrapped.reduction = DROP
    labels = asked.input_ids.masked_fill(asked.input_ids < 0, -100)
    wrapped(input_ids=asked.input_ids, images=asked.images, labels=labels).loss.backward()
    trained = {name for name, weight in wrapped.named_parameters() if weight.grad is not None}
    assert trained and all("lora_" in name for name in trained)


@pytest.mark.parametrize("kind", TUNINGS)
def test_prompts_that_are_learned(loaded: Loaded, kind: str) -> None:
    """Text trains where PEFT hands over embeddings; all else is one line."""
    settings = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    wrapped = peft.get_peft_model(loaded.model, getattr(peft, kind)(**settings))
    text = tokenizer_image_token("USER: hello ASSISTANT:", loaded.tokenizer, return_tensors="pt")[None]
    asked, mask = sample(loaded, "What?", "0.png"), torch.ones_like(text)
    if kind == "PrefixTuningConfig":
        with pytest.raises(InputError, match="prefix tuning"):
            wrapped(text, attention_mask=mask)
    else:
        out = wrapped(text, attention_mask=mask, labels=text)
        assert out.logits.shape[:2] == (1, text.shape[1] + 4) and out.loss.isfinite()
    with pytest.raises(InputError):
        wrapped(asked.input_ids, attention_mask=torch.ones_like(asked.input_ids), images=asked.images)
    for given in ({"input_ids": text}, asked._asdict()):
        with pytest.raises(InputError, match="generate knows no P"):
            wrapped.generate(**given, **GREEDY)
