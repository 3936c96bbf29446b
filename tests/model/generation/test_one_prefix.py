"""Rows that read one prefix where it lies: logits and answers of rows that hold copies, and one prefix's bytes."""

import functools
from typing import Any

import pytest
import torch
from contract_settings import SETTINGS
from language_models import family_model, pictures

from llava.model.generation import one_prefix, sharing, static_decoder, static_step
from llava.model.generation.length_buckets import LEAST_TOKENS
from llava.model.generation.prefix import ImagePrefix
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.reduction import available, create, method_class

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
START = [1, 5, -200, 7, -200]
QUESTIONS = [[8, 2, 6], [3, 9, 4, 12, 30, 31], [11], [2, 6, 7], [3, 9]]
METHODS = [name for name in available() if not getattr(method_class(name), "question_at_encoder", False)]
KEEPING = ("visiondrop", {**SETTINGS["visiondrop"], "positions": "keep"})
SOME = [("none", {}), ("visiondrop", SETTINGS["visiondrop"]), KEEPING, ("gprune", SETTINGS["gprune"])]
CASES = [(family, *case) for family in ("llama", "mistral", "qwen") for case in SOME]
CASES += [("llama", name, SETTINGS[name]) for name in METHODS if name not in ("none", "visiondrop", "gprune")]


@functools.cache
def made(family: str) -> Any:
    """A family's model in float64, where rounding hides nothing; two query heads to a key head, Qwen2's four."""
    return family_model(family).double()


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those of later calls that stand beside a prefix."""
    seen: list[Any] = []

    def start(*args: Any) -> Any:
        seen.append(one_prefix.start_beside(*args))
        return seen[-1]

    monkeypatch.setattr(sharing, "start_beside", start)
    return seen


def switched(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a model that was loaded with the kernel."""
    monkeypatch.setattr(model.config, "_attn_implementation_internal", SHARED_PREFIX)
    assert model.config._attn_implementation == SHARED_PREFIX


def encoded(model: Any, name: str, settings: dict, seed: int = 0) -> ImagePrefix:
    shown = pictures(model, 4)[seed : seed + 2]
    prefix = model.encode_image(torch.tensor(START), shown, reduction=create(name, **settings))
    assert isinstance(prefix, ImagePrefix)
    return prefix


def asked(model: Any, *arguments: Any, **more: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Answers, and the logits of every pass."""
    logits: list[torch.Tensor] = []
    hook = model.lm_head.register_forward_hook(lambda _, __, output: logits.append(output[:, -1]))
    try:
        return model.ask(*arguments, **{**GREEDY, **more}), logits
    finally:
        hook.remove()


def assert_same(got: Any, wanted: Any) -> None:
    assert torch.equal(got[0], wanted[0])
    assert len(got[1]) == len(wanted[1])
    for own, other in zip(got[1], wanted[1]):
        torch.testing.assert_close(own, other, atol=1e-10 * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize(("family", "name", "settings"), CASES)
def test_logits_and_answers_are_those_of_copies(
    family: str, name: str, settings: dict, monkeypatch: pytest.MonkeyPatch, caches: list[Any]
) -> None:
    """Questions of several lengths, padded in one pass, prefilled in buckets, and alone."""
    model = made(family)
    prefix = encoded(model, name, settings)
    for questions, least in ((QUESTIONS, 128), (QUESTIONS, 1), (QUESTIONS[:1], 128)):
        with monkeypatch.context() as patch:
            patch.setitem(LEAST_TOKENS, "cpu", least)
            wanted = asked(model, prefix, questions)
            switched(model, patch)
            got = asked(model, prefix, questions)
        assert_same(got, wanted)
    assert len(caches) == (3 if prefix.blocks and not prefix.reduction.masks else 0)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen"])
def test_in_fewer_bits(family: str, dtype: torch.dtype, near: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = family_model(family).to(dtype)
    prefix = encoded(model, *SOME[1])
    wanted = asked(model, prefix, QUESTIONS, max_new_tokens=1)
    switched(model, monkeypatch)
    got = asked(model, prefix, QUESTIONS, max_new_tokens=1)
    if dtype == torch.float32:
        assert torch.equal(got[0], wanted[0])
    own, other = got[1][0].float(), wanted[1][0].float()
    torch.testing.assert_close(own, other, atol=near * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize(("name", "settings"), SOME)
def test_a_batch_holds_one_prefix_and_its_own_tokens(
    name: str, settings: dict, monkeypatch: pytest.MonkeyPatch, caches: list[Any]
) -> None:
    model = made("llama")
    prefix = encoded(model, name, settings)
    before = [block.states.clone() for block in prefix.blocks]
    switched(model, monkeypatch)
    model.ask(prefix, QUESTIONS, **GREEDY)
    (cache,) = caches
    config = model.config
    per_token = 12 * 2 * 8 * config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    held = sum(block.states.nbytes for block in prefix.blocks)
    assert cache.nbytes() == held + 5 * (6 + 3) * per_token  # the last token is never cached
    stores = {states.untyped_storage().data_ptr() for states in cache.shared.states}
    assert stores == {block.states.untyped_storage().data_ptr() for block in prefix.blocks}
    rooms = [buffer for layer in cache.layers for buffer in layer.buffers]
    assert sum(buffer.untyped_storage().nbytes() for buffer in rooms) == 5 * (6 + 4) * per_token
    assert all(torch.equal(old, block.states) for old, block in zip(before, prefix.blocks))


def test_what_cannot_share_takes_copies(monkeypatch: pytest.MonkeyPatch, caches: list[Any]) -> None:
    """Several prefixes, a row without one, compiled steps, beams, windows inside the prefix, ALiBi."""
    model = made("llama")
    one, other = (encoded(model, "visiondrop", SETTINGS["visiondrop"], seed) for seed in (0, 2))
    calls: list[tuple[Any, dict[str, Any]]] = [([one, other], {}), ([None, one], {}), (one, {"num_beams": 2})]
    wanted = [model.ask(rows, QUESTIONS[:2], **{**GREEDY, **more}) for rows, more in calls]
    compiled_wanted = model.ask(one, QUESTIONS, **GREEDY)
    with monkeypatch.context() as patch:
        switched(model, patch)
        for (rows, more), answers in zip(calls, wanted):
            assert torch.equal(model.ask(rows, QUESTIONS[:2], **{**GREEDY, **more}), answers)
        decoder = static_decoder.StaticDecoder(model)
        patch.setattr(decoder, "_prepared", lambda state: lambda: static_step.run_step(model, state))
        assert torch.equal(model.ask(one, QUESTIONS, decoder=decoder, **GREEDY), compiled_wanted)
        assert decoder.works
    for family in ("mistral-window", "qwen-window", "mpt"):
        model = family_model(family)
        prefix = encoded(model, "visionzip", SETTINGS["visionzip"])
        answers = model.ask(prefix, QUESTIONS, **GREEDY)
        with monkeypatch.context() as patch:
            switched(model, patch)
            assert torch.equal(model.ask(prefix, QUESTIONS, **GREEDY), answers)
    assert not caches


def test_a_window_that_holds_everything_shares(monkeypatch: pytest.MonkeyPatch, caches: list[Any]) -> None:
    model = family_model("mistral", sliding_window=3 + 2 * 64 + 6 + 4).double()
    prefix = encoded(model, "none", {})
    assert max(prefix.lengths) == 3 + 2 * 64
    wanted = asked(model, prefix, QUESTIONS)
    switched(model, monkeypatch)
    assert_same(asked(model, prefix, QUESTIONS), wanted)
    assert len(caches) == 1
    model.ask(prefix, QUESTIONS, **{**GREEDY, "max_new_tokens": 5})
    assert len(caches) == 1


def test_without_a_prefix_it_is_sdpa_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("mistral")
    arguments = {"images": pictures(model, 4), **GREEDY, "output_logits": True, "return_dict_in_generate": True}
    arguments |= {"reduction": create("visiondrop", **SETTINGS["visiondrop"])}
    ids = torch.tensor([START + QUESTIONS[0], START + QUESTIONS[3]])
    wanted = model.generate(ids, **arguments)
    switched(model, monkeypatch)
    got = model.generate(ids, **arguments)
    assert torch.equal(torch.stack(got.logits), torch.stack(wanted.logits))
