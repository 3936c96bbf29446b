"""Labels follow their tokens, gradients pass, and padding may stand on either side where nothing is generated."""

from typing import Any

import pytest
import torch
from test_hf_generate import OF_TOKENS, ROWS, alone
from tiny_hf import MODELS, PICTURE, WORDS, inputs

import llava.hf

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("visiondrop", {"retain": 0.3}),
    ("visionzip", {"retain": 0.4}),
    ("pyramiddrop", {"retain": 0.6}),
]
every_model = pytest.mark.parametrize("name", MODELS)
every_method = pytest.mark.parametrize(("method", "settings"), METHODS, ids=[method for method, _ in METHODS])


def labels_of(given: dict[str, torch.Tensor], last: int = 2) -> torch.Tensor:
    """The last tokens of each row are to be learned."""
    labels = torch.full_like(given["input_ids"], -100)
    labels[:, -last:] = given["input_ids"][:, -last:]
    return labels


def on_the_right(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with padding behind the prompts."""
    order = (1 - given["attention_mask"]).sort(dim=1, stable=True).indices
    return {
        key: value.take_along_dim(order, dim=1) if key in (*OF_TOKENS, "labels") else value
        for key, value in given.items()
    }


@every_model
@every_method
def test_the_loss_is_that_of_the_answers_alone(name: str, method: str, settings: dict[str, Any]) -> None:
    """Of each row by itself: the mean of what the logits before its last two tokens say of these."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    labels = labels_of(given)
    reduced = llava.hf.reduce(model, method, **settings)
    made = reduced(**given, labels=labels)
    wanted = []
    for row in range(2):
        own = alone(given, row)
        if method == "pyramiddrop":  # which ranks by the token before the answer
            logits = reduced(**own, labels=labels[row, -own["input_ids"].shape[1] :][None]).logits[0]
        else:
            logits = reduced(**own).logits[0]
        answer = own["input_ids"][0, -2:]
        wanted.append(torch.nn.functional.cross_entropy(logits[-3:-1], answer))
    torch.testing.assert_close(made.loss, sum(wanted) / 2, atol=1e-5, rtol=0)
    assert made.logits.shape[1] < given["input_ids"].shape[1]
    as_tuple = reduced(**given, labels=labels, return_dict=False)
    assert torch.equal(as_tuple[0], made.loss) and torch.equal(as_tuple[1], made.logits)


@every_model
def test_everything_kept_has_the_loss_of_the_original(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    labels = given["input_ids"].masked_fill((given["input_ids"] == PICTURE) | (given["attention_mask"] == 0), -100)
    labels[given["attention_mask"].cumsum(dim=1) <= 1] = -100  # nothing but padding stands before a first token
    wanted = model(**given, labels=labels).loss
    for method, settings in (("none", {}), ("fastv", {"fast_v_agg_layer": 2, "fast_v_attention_rank": 4000})):
        assert torch.equal(llava.hf.reduce(model, method, **settings)(**given, labels=labels).loss, wanted)


@every_model
@every_method
def test_padding_on_the_right_is_the_same(name: str, method: str, settings: dict[str, Any]) -> None:
    model = MODELS[name]()
    given = {**inputs(model, ROWS)}
    given["labels"] = labels_of(given)
    reduced = llava.hf.reduce(model, method, **settings)
    wanted, got = reduced(**given), reduced(**on_the_right(given))
    torch.testing.assert_close(got.loss, wanted.loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(got.logits[:, -2:], wanted.logits[:, -2:], atol=1e-5, rtol=0)


@every_model
def test_padding_of_every_row_is_left_out(name: str) -> None:
    """As of batches padded to a multiple of 8."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    wider = {key: torch.nn.functional.pad(value, (3, 0)) if key in OF_TOKENS else value for key, value in given.items()}
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.3)
    greedy = {"max_new_tokens": 4, "do_sample": False}
    assert torch.equal(reduced.generate(**wider, **greedy)[:, -4:], reduced.generate(**given, **greedy)[:, -4:])


@every_model
@every_method
def test_a_step_of_training_lowers_the_loss(name: str, method: str, settings: dict[str, Any]) -> None:
    """Gradients reach tower, projector and LLM through what was kept and merged."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    labels = labels_of(given)
    reduced = llava.hf.reduce(model, method, **settings)
    reduced.train()
    before = reduced(**given, labels=labels).loss
    before.backward()
    tower = model.model.visual if hasattr(model.model, "visual") else model.model.vision_tower
    for part in (tower, model.model.language_model, model.lm_head):
        assert any(weight.grad is not None and weight.grad.abs().max() > 0 for weight in part.parameters())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight -= 1e-4 * weight.grad / weight.grad.norm().clamp(min=1e-6)
    assert reduced(**given, labels=labels).loss < before
    assert (given["input_ids"] < WORDS).any()
