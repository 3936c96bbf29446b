"""A picture encoded once and asked often, and conversations whose later turns bring pictures."""

import copy
from typing import Any

import pytest
import torch
from test_hf_generate import GREEDY, OF_TOKENS
from tiny_hf import MODELS, PICTURE, inputs

import llava.hf
from llava.errors import InputError

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("visiondrop", {"retain": 0.3}),
    ("visionzip", {"retain": 0.4}),
    ("none", {}),
]
# Of methods that read the question the pictures alone are shared.
READS: list[tuple[str, dict[str, Any]]] = [("pyramiddrop", {"retain": 0.6}), ("fastv", {"retain": 0.6})]
every_model = pytest.mark.parametrize("name", MODELS)
every_method = pytest.mark.parametrize(("method", "settings"), METHODS, ids=[method for method, _ in METHODS])
QUESTIONS = [[7, 8, 9], [10, 11, 12, 13, 14], [15]]


def asked(given: dict[str, torch.Tensor], question: list[int]) -> dict[str, torch.Tensor]:
    """The prompt with other words behind its last picture."""
    end = int((given["input_ids"][0] == PICTURE).nonzero().max()) + 1
    more = torch.tensor([question])
    fill = {"input_ids": more, "attention_mask": torch.ones_like(more), "mm_token_type_ids": torch.zeros_like(more)}
    cut = {key: torch.cat([given[key][:, :end], fill[key].to(given[key])], dim=1) for key in OF_TOKENS if key in given}
    return {**given, **cut}


@every_model
@pytest.mark.parametrize(("method", "settings"), [*METHODS, *READS], ids=[method for method, _ in (*METHODS, *READS)])
def test_answers_are_those_of_whole_prompts(name: str, method: str, settings: dict[str, Any]) -> None:
    model = MODELS[name]()
    given = inputs(model, [[0, 1]])
    reduced = llava.hf.reduce(model, method, **settings)
    prefix = reduced.encode_image(**given)
    for _ in range(2):  # the prefix is only read
        together = reduced.ask(prefix, QUESTIONS, **GREEDY)
    for row, question in enumerate(QUESTIONS):
        own = reduced.generate(**asked(given, question), **GREEDY)
        assert torch.equal(together.sequences[row], own.sequences[0, -5:])
        for one, other in zip(own.logits, together.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)
    whole = [asked(given, question)["input_ids"][0] for question in QUESTIONS]
    assert torch.equal(reduced.ask(prefix, whole, max_new_tokens=5, do_sample=False), together.sequences)


@every_model
def test_beams_and_samples_of_shared_pictures(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, [[0]])
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    prefix = reduced.encode_image(**given)
    beams = {"max_new_tokens": 3, "num_beams": 3, "do_sample": False}
    together = reduced.ask(prefix, QUESTIONS, **beams)
    for row, question in enumerate(QUESTIONS):
        assert torch.equal(together[row], reduced.generate(**asked(given, question), **beams)[0, -3:])
    assert reduced.ask(prefix, QUESTIONS, max_new_tokens=2, do_sample=True, num_return_sequences=2).shape == (6, 2)


@every_model
def test_the_cache_is_transformers_own(name: str) -> None:
    """As its documents show it: a copy of a prompt's cache as `past_key_values`."""
    model = MODELS[name]()
    given = inputs(model, [[0]])
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.3)
    prefix = reduced.encode_image(**given)
    for question in QUESTIONS:
        whole = asked(given, question)
        text = {key: whole[key] for key in ("input_ids", "attention_mask")}
        got = reduced.generate(**text, past_key_values=copy.deepcopy(prefix.cache), **GREEDY)
        wanted = reduced.generate(**whole, **GREEDY)
        assert torch.equal(got.sequences, wanted.sequences)


def test_padding_of_the_prompt_is_left_out_of_a_prefix() -> None:
    model = MODELS["qwen2_5"]()
    given = inputs(model, [[0]])
    wider = {key: torch.nn.functional.pad(value, (4, 0)) if key in OF_TOKENS else value for key, value in given.items()}
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.3)
    wanted = reduced.ask(reduced.encode_image(**given), QUESTIONS, **GREEDY)
    got = reduced.ask(reduced.encode_image(**wider), QUESTIONS, **GREEDY)
    assert all(torch.equal(one, other) for one, other in zip(got.logits, wanted.logits, strict=True))


@every_model
@pytest.mark.parametrize(
    ("method", "settings"), [METHODS[0], READS[0], METHODS[2]], ids=["visiondrop", "pyramiddrop", "none"]
)
def test_pictures_of_any_size_and_none_are_asked_about_together(
    name: str, method: str, settings: dict[str, Any]
) -> None:
    """Prefixes that were encoded as one batch where that goes; a row of a batch is answered as alone."""
    model = MODELS[name]()
    prompts = [inputs(model, [[picture]], seed=picture) for picture in (0, 1, 3)]
    reduced = llava.hf.reduce(model, method, **settings)
    first, second, third = reduced.encode_images(prompts)
    prefixes, questions = [first, second, None, first, third], [[7, 8, 9], [10], [20, 21, 22, 23], [15, 16], [17]]
    together = reduced.ask(prefixes, questions, **GREEDY)
    for row, (prefix, question) in enumerate(zip(prefixes, questions)):
        alone = {
            "input_ids": torch.tensor([question]),
            "attention_mask": torch.ones(1, len(question), dtype=torch.long),
        }
        if prefix is not None:
            alone = asked(prompts[[first, second, third].index(prefix)], question)
        own = reduced.generate(**alone, **GREEDY)
        assert torch.equal(together.sequences[row], own.sequences[0, -5:])
        for one, other in zip(own.logits, together.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)
    beams = {"max_new_tokens": 3, "num_beams": 3, "do_sample": False}
    both = reduced.ask([second, None], [[7, 8, 9], [20, 21]], **beams)
    assert torch.equal(both[0], reduced.generate(**asked(prompts[1], [7, 8, 9]), **beams)[0, -3:])


@pytest.mark.parametrize("name", ["qwen3", "internvl"])
def test_what_is_dropped_before_the_llm_is_shared_where_the_question_is_read_inside(name: str) -> None:
    """VScan drops and averages in the tower, deepstack's vectors too, and ranks by the question between layers."""
    model = MODELS[name]()
    given = inputs(model, [[0]])
    reduced = llava.hf.reduce(model, "vscan", retain=0.3)
    assert reduced.reduction.reads_question and reduced.reduction.layers
    prefix = reduced.encode_image(**given)
    together = reduced.ask(prefix, QUESTIONS, **GREEDY)
    for row, question in enumerate(QUESTIONS):
        own = reduced.generate(**asked(given, question), **GREEDY)
        for one, other in zip(own.logits, together.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)


def test_text_alone_needs_no_prefix() -> None:
    reduced = llava.hf.reduce(MODELS["qwen2_5"](), "visiondrop", retain=0.3)
    ids = torch.tensor([[7, 8, 9]])
    assert torch.equal(
        reduced.ask([None], ids, max_new_tokens=2), reduced.generate(input_ids=ids, max_new_tokens=2)[:, 3:]
    )


def test_what_is_no_prompt_with_a_picture_is_refused() -> None:
    model = MODELS["llava"]()
    reduced, other = (llava.hf.reduce(model, "visionzip", retain=0.4) for _ in range(2))
    given = inputs(model, [[0]])
    with pytest.raises(InputError, match=r"expected \(1, tokens\)"):
        reduced.encode_image(**inputs(model, [[0], [1]]))
    with pytest.raises(InputError, match="takes a prompt with a picture"):
        reduced.encode_image(**inputs(model, [[]]))
    prefix = reduced.encode_image(**given)
    with pytest.raises(InputError, match="an empty one"):
        reduced.ask(prefix, [[7], []])
    with pytest.raises(InputError, match="a prefix for each question: got 2 for 3"):
        reduced.ask([prefix, None], QUESTIONS)
    with pytest.raises(InputError, match="belongs to the reduced model"):
        other.ask(prefix, QUESTIONS)


@every_model
@every_method
def test_a_later_turn_brings_a_picture(name: str, method: str, settings: dict[str, Any]) -> None:
    """The whole conversation and the cache of its first part, which ends before the second picture."""
    if method == "visiondrop":
        method, settings = "fastervlm", {"retain": 0.4}
    model = MODELS[name]()
    given, first = inputs(model, [[0, 1], [2, 1]]), inputs(model, [[0], [2]])
    width = first["input_ids"].shape[1]
    for key in OF_TOKENS:
        if key in given:
            first[key] = given[key][:, :width]
    reduced = llava.hf.reduce(model, method, **settings)
    if method == "none":
        return  # the given model's own, which takes no picture after a cache
    cache = reduced(**first, use_cache=True).past_key_values
    got = reduced.generate(**given, past_key_values=cache, **GREEDY)
    wanted = reduced.generate(**given, **GREEDY)
    assert torch.equal(got.sequences, wanted.sequences)
    for one, other in zip(got.logits, wanted.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@every_model
def test_stages_inside_the_llm_take_no_later_picture(name: str) -> None:
    model = MODELS[name]()
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.3)
    given = inputs(model, [[0, 1]])
    cache = reduced(**inputs(model, [[0]]), use_cache=True).past_key_values
    with pytest.raises(InputError, match="or take a method that acts before the LLM"):
        reduced.generate(**given, past_key_values=cache, max_new_tokens=2)
