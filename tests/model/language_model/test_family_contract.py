"""What every language model promises with every method: rows alone, caches, prefixes, transformers' own class."""

import functools
from typing import Any

import pytest
import torch
from contract_settings import SETTINGS
from language_models import FAMILIES, LAYERS, SIDE, family_model, host_of, pictures

from llava.errors import InputError
from llava.model.generation import static_decoder, static_step
from llava.model.trace import Trace
from llava.reduction import Reduction, available, create, method_class

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
NEAR = {"atol": 1e-4, "rtol": 0.0}
PROMPTS = ([1, 5, -200, 7, 3, 9, 4, 12], [1, -200, 8, 2, 6], [1, 3, 9], [1, 4, -200, 9, -200, 6, 2, 3, 8, 5, 11])
PICTURES = ([0], [1], [], [2, 3])
METHODS = [name for name in available() if not getattr(method_class(name), "question_at_encoder", False)]
EVERY = pytest.mark.parametrize("name", METHODS)
FAMILY = pytest.mark.parametrize("family", FAMILIES)


@functools.cache
def made(family: str) -> Any:
    """A family's model."""
    return family_model(family)


def fitting(family: str, name: str) -> Reduction:
    """A method with settings, if it can drop where it wants to; MPT takes those of the encoder only."""
    assert name in SETTINGS, f"give the new method '{name}' settings in tests/contract_settings.py"
    method = create(name, **SETTINGS[name])
    if family == "mpt" and (method.layers or method.keeps_gaps):
        pytest.skip("MPT's layers have no positions; the refusal is tested below")
    return method


def prompt(model: Any, number: int) -> dict[str, Any]:
    shown = pictures(model, 4)
    return {"input_ids": torch.tensor([PROMPTS[number]]), "images": [shown[at] for at in PICTURES[number]] or None}


@functools.cache
def alone(family: str, name: str, number: int) -> Any:
    """What a prompt by itself is answered."""
    model = made(family)
    return model.generate(**prompt(model, number), reduction=fitting(family, name), **GREEDY, **LOGITS)


def together(model: Any, side: str) -> dict[str, Any]:
    """All prompts, padded on a side."""
    width = max(map(len, PROMPTS))
    ids, mask = torch.zeros(4, width, dtype=torch.long), torch.zeros(4, width, dtype=torch.long)
    for number, row in enumerate(PROMPTS):
        place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask, "images": pictures(model, 4)}


@FAMILY
@EVERY
def test_a_row_of_a_batch_is_the_row_alone(family: str, name: str) -> None:
    model, method = made(family), fitting(family, name)
    for side in ("left", "right"):
        rows = model.generate(**together(model, side), reduction=method, **GREEDY, **LOGITS)
        for number in range(4):
            own = alone(family, name, number)
            got = torch.stack([logits[number] for logits in rows.logits])
            torch.testing.assert_close(got, torch.cat(own.logits), **NEAR)
            assert torch.equal(rows.sequences[number], own.sequences[0])


@FAMILY
@EVERY
@torch.no_grad()
def test_cached_is_uncached(family: str, name: str) -> None:
    """The prompt and its answer so far, run anew: only a method that reads no later text chooses the same tokens."""
    model, method = made(family), fitting(family, name)
    for at in (0, 3):
        asked = prompt(model, at)
        got = alone(family, name, at)
        for number in range(1 if method.reads_question else 4):
            ids = torch.cat([asked["input_ids"], got.sequences[:, :number]], dim=1)
            logits = model(ids, images=asked["images"], reduction=method).logits[:, -1]
            torch.testing.assert_close(logits, got.logits[number], **NEAR)


@FAMILY
@EVERY
def test_a_shared_prefix_answers_as_the_whole_prompt(family: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside a question that goes without an image, and in buffers of fixed shape."""
    model, method = made(family), fitting(family, name)
    numbers = [1, 0, 3]
    prefixes: list[Any] = [
        model.encode_image(torch.tensor(PROMPTS[at]), prompt(model, at)["images"], reduction=method) for at in numbers
    ]
    rows = [*numbers, 2]
    ids = [PROMPTS[at] for at in rows]
    got = model.ask([*prefixes, None], ids, **GREEDY, **LOGITS)
    tokens = model.ask([*prefixes, None], ids, **GREEDY)
    assert torch.equal(tokens, got.sequences)
    for row, at in enumerate(rows):
        own = torch.cat(alone(family, name, at).logits)
        torch.testing.assert_close(torch.stack([logits[row] for logits in got.logits]), own, **NEAR)
    decoder = static_decoder.StaticDecoder(model)
    assert decoder.works is (family != "mpt")
    monkeypatch.setattr(decoder, "_prepared", lambda state: lambda: static_step.run_step(model, state))
    assert torch.equal(model.ask([*prefixes, None], ids, decoder=decoder, **GREEDY), tokens)


@FAMILY
@torch.no_grad()
def test_without_a_method_it_is_transformers_own_model(family: str) -> None:
    """The prompt's embeddings, padded on the left, and the tokens after them."""
    model = made(family)
    host, trace = host_of(family, model), Trace()
    got = model.generate(**together(model, "left"), reduction="none", trace=trace, **GREEDY, **LOGITS)
    assert trace.layout is not None and trace.inputs_embeds is not None
    mask = (torch.arange(trace.layout.width) >= trace.layout.padding(torch.device("cpu"))).long()
    wanted = host.generate(inputs_embeds=trace.inputs_embeds, attention_mask=mask, **GREEDY, **LOGITS)
    torch.testing.assert_close(torch.stack(got.logits), torch.stack(wanted.logits), **NEAR)
    assert torch.equal(got.sequences, wanted.sequences)
    whole = host(inputs_embeds=trace.inputs_embeds, attention_mask=mask).logits
    own = model(inputs_embeds=trace.inputs_embeds, attention_mask=mask).logits
    torch.testing.assert_close(own[mask.bool()], whole[mask.bool()], **NEAR)


@FAMILY
def test_eager_attention_gives_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in buffers of fixed shape, whose masks it takes as numbers."""
    model, asked = made(family), together(made(family), "right")
    wanted = model.generate(**asked, **GREEDY, **LOGITS)
    prefix = model.encode_image(torch.tensor(PROMPTS[0]), prompt(model, 0)["images"])
    ids = [PROMPTS[0], [9, 2, 4]]
    tokens = model.ask(prefix, ids, **GREEDY)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "eager")
    assert model.config._attn_implementation == "eager"
    got = model.generate(**asked, **GREEDY, **LOGITS)
    torch.testing.assert_close(torch.stack(got.logits), torch.stack(wanted.logits), **NEAR)
    decoder = static_decoder.StaticDecoder(model)
    monkeypatch.setattr(decoder, "_prepared", lambda state: lambda: static_step.run_step(model, state))
    assert torch.equal(model.ask(prefix, ids, decoder=decoder, **GREEDY), tokens)


@FAMILY
@pytest.mark.parametrize(
    "settings", [{"num_beams": 3, "num_return_sequences": 2}, {"prompt_lookup_num_tokens": 3}], ids=str
)
def test_beams_and_lookups(family: str, settings: dict[str, Any]) -> None:
    """A row of a beam search is the row alone; drafts that are thrown away leave nothing."""
    model, arguments = made(family), {**GREEDY, "max_new_tokens": 8, "eos_token_id": [39]}
    method = create("visionzip", **SETTINGS["visionzip"])
    if "num_beams" in settings:
        rows = model.generate(**together(model, "left"), reduction=method, **arguments, **settings)
        for at in range(4):
            own = model.generate(**prompt(model, at), reduction=method, **arguments, **settings)
            assert torch.equal(rows[2 * at : 2 * at + 2], own)
        return
    for at in range(4):
        wanted = model.generate(**prompt(model, at), reduction=method, **arguments)
        got = model.generate(**prompt(model, at), reduction=method, **arguments, **settings)
        assert torch.equal(got[:, : wanted.shape[1]], wanted)  # transformers 5.12 lets a last draft pass the limit


@pytest.mark.parametrize("name", [name for name in METHODS if create(name, **SETTINGS[name]).layers])
def test_mpt_refuses_to_drop_between_its_layers(name: str) -> None:
    model, method = made("mpt"), create(name, **SETTINGS[name])
    with pytest.raises(
        InputError, match=f"MPT's layers, which know distances .* got the method '{name}' with layer_li"
    ):
        model.reduction = method
    with pytest.raises(InputError, match="take one of the encoder, such as visionzip"):
        model.generate(**prompt(model, 0), reduction=method, **GREEDY)


def test_mpt_refuses_gaps_between_its_tokens() -> None:
    model, settings = made("mpt"), SETTINGS["gprune"]
    with pytest.raises(InputError, match="no gaps can be left between MPT's tokens.*: got the method 'gprune', which"):
        model.reduction = create("gprune", **settings)
    model.generate(**prompt(model, 0), reduction=create("gprune", **settings, positions="renumber"), **GREEDY)


def test_models_are_those_that_settings_were_made_for() -> None:
    assert SIDE**2 == 64 and LAYERS == 12
