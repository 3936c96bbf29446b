"""The decoder loop: the host's own where nothing is dropped, the same with a cache as without, stateless."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from conftest import Load, sample
from snapshots import snapshot
from transformers import LlamaConfig, LlamaForCausalLM

from llava.model.cache.staged_cache import StagedCache
from llava.model.layout import Layout
from llava.model.trace import Trace
from llava.reduction import create

pytestmark = pytest.mark.shallow

METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "visionzip": {"dominant": 54, "contextual": 10},
    "visiondrop": {
        "dominant": 50,
        "contextual": 14,
        "layer_list": [2, 5, 9],
        "image_token_list": [[33, 7], [20, 5], [9, 1]],
    },
    "pyramiddrop": {"layer_list": [2, 5, 9], "image_token_ratio_list": [0.6, 0.3, 0.1]},
}
QUESTION = "What color is the circle?"


@pytest.fixture
def plain(load: Load) -> LlamaForCausalLM:
    """transformers' own LLaMA with the weights of the 12-layer checkpoint."""
    model = load("llava-tiny-12l").model
    settings = {name: v for name, v in model.config.to_dict().items() if name not in ("model_type", "architectures")}
    host = LlamaForCausalLM(LlamaConfig(**settings))
    weights = {n: v for n, v in model.state_dict().items() if n in host.state_dict()}
    host.load_state_dict(weights)
    host.set_attn_implementation("sdpa")
    return host.eval()


@torch.no_grad()
def test_without_drops_logits_are_bit_equal_to_transformers(load: Load, plain: LlamaForCausalLM) -> None:
    model = load("llava-tiny-12l").model
    embeds = torch.randn(2, 40, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(inputs_embeds=embeds).logits, plain(inputs_embeds=embeds).logits)
    ids = torch.arange(3, 23).view(2, 10)
    assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)


@torch.no_grad()
def test_left_padded_rows_are_bit_equal_to_transformers(load: Load, plain: LlamaForCausalLM) -> None:
    model = load("llava-tiny-12l").model
    embeds = torch.randn(2, 12, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, :5] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    layout = Layout((12, 7)).to_tensor()
    got = model(inputs_embeds=embeds, layout=layout).logits
    want = plain(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits
    assert torch.equal(got[0], want[0]) and torch.equal(got[1, 5:], want[1, 5:])


@torch.no_grad()
def test_cached_decoding_is_bit_equal_to_transformers(load: Load, plain: LlamaForCausalLM) -> None:
    model = load("llava-tiny-12l").model
    ids = torch.arange(3, 23)[None]
    wanted = plain.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)[0, 20:]
    cache, host_cache = StagedCache(model.config), None
    token = ids
    for number in range(6):
        got = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1]
        host = plain(input_ids=token, past_key_values=host_cache, use_cache=True)
        host_cache = host.past_key_values
        assert torch.equal(got, host.logits[:, -1])
        token = got.argmax(-1)[None]
        assert token.item() == wanted[number]


@pytest.mark.parametrize("name", METHODS)
def test_cached_decoding_equals_running_everything_again(load: Load, name: str) -> None:
    """The prompt and its answer so far, run anew: only a method that reads no later text chooses the same tokens."""
    loaded = load("llava-tiny-12l", name, **METHODS[name])
    asked = sample(loaded, QUESTION, "0.png")
    arguments = {"do_sample": False, "max_new_tokens": 5, "eos_token_id": None}
    got = loaded.model.generate(**asked._asdict(), output_logits=True, return_dict_in_generate=True, **arguments)
    with torch.no_grad():
        for number in range(1 if loaded.model.reduction.reads_question else 5):
            ids = torch.cat([asked.input_ids, got.sequences[:, :number]], dim=1)
            logits = loaded.model(ids, images=asked.images, image_sizes=asked.image_sizes).logits[:, -1]
            torch.testing.assert_close(logits, got.logits[number], atol=1e-4, rtol=0)
    uncached = loaded.model.generate(**asked._asdict(), use_cache=False, **arguments)
    assert torch.equal(uncached, got.sequences)


@pytest.mark.parametrize("name", METHODS)
def test_cache_holds_the_tokens_of_each_stage_and_no_byte_more(load: Load, name: str) -> None:
    loaded = load("llava-tiny-12l", name, **METHODS[name])
    model, asked = loaded.model, sample(loaded, QUESTION, "0.png")
    out = model.generate(
        **asked._asdict(), do_sample=False, max_new_tokens=4, eos_token_id=None, return_dict_in_generate=True
    )
    text = asked.input_ids.shape[1] - 1
    per_token = 2 * model.config.num_key_value_heads * model.model.layers[0].self_attn.head_dim * 4
    counts = model.reduction.tokens_per_stage(model.geometry)
    edges = [0, *model.reduction.layers, 12]
    lengths = [text + count + 3 for count in counts]  # the fourth new token was never fed back
    assert [out.past_key_values.length(stage) for stage in range(len(counts))] == lengths
    total = sum(length * (stop - first) for length, first, stop in zip(lengths, edges, edges[1:]))
    assert out.past_key_values.nbytes() == per_token * total


@pytest.mark.parametrize("name", METHODS)
def test_a_call_leaves_every_attribute_of_the_model_as_it_was(load: Load, name: str) -> None:
    loaded = load("llava-tiny-12l", name, **METHODS[name])
    asked = sample(loaded, QUESTION, "0.png")
    before, config = snapshot(loaded.model), loaded.model.config.to_dict()
    loaded.model.generate(**asked._asdict(), do_sample=False, max_new_tokens=2)
    with torch.no_grad():
        loaded.model(asked.input_ids, images=asked.images)
    after = snapshot(loaded.model)
    assert before.keys() == after.keys()
    assert [key for key in before if before[key] is not after[key] and before[key] != after[key]] == []
    assert loaded.model.config.to_dict() == config


def test_methods_used_in_turn_do_not_influence_each_other(load: Load) -> None:
    loaded = load("llava-tiny-12l")
    asked = sample(loaded, QUESTION, "1.png")

    def logits(name: str) -> torch.Tensor:
        with torch.no_grad():
            method = create(name, **METHODS[name])
            return loaded.model(asked.input_ids, images=asked.images, reduction=method).logits[:, -1]

    first = {name: logits(name) for name in METHODS}
    again = {name: logits(name) for name in reversed(METHODS)}
    assert all(torch.equal(first[name], again[name]) for name in METHODS)
    assert not torch.equal(first["none"], first["visiondrop"])


def test_threads_with_different_schedules_do_not_influence_each_other(load: Load) -> None:
    loaded = load("llava-tiny-12l")
    asked = sample(loaded, QUESTION, "2.png")

    def answer(name: str) -> torch.Tensor:
        method = create(name, **METHODS[name])
        arguments = {"do_sample": False, "max_new_tokens": 4, "eos_token_id": None}
        return loaded.model.generate(**asked._asdict(), reduction=method, **arguments)

    alone = {name: answer(name) for name in METHODS}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip([*METHODS] * 2, pool.map(answer, [*METHODS] * 2)))
    assert all(torch.equal(alone[name], together[name]) for name in METHODS)


def test_keeping_everything_equals_plain_llava_on_the_methods_own_order(load: Load) -> None:
    """VisionZip that keeps all patches brings [CLS] and moves one patch to the end; the rest is plain LLaVA's."""
    loaded = load("llava-tiny-12l")
    model, asked, trace = loaded.model, sample(loaded, QUESTION, "3.png"), Trace()
    with torch.no_grad():
        model(asked.input_ids, images=asked.images, trace=trace)
        patches = trace.inputs_embeds[0]
        kept = Trace()
        everything = create("visionzip", dominant=576, contextual=1)
        got = model(asked.input_ids, images=asked.images, reduction=everything, trace=kept).logits
        span, order = trace.layout.spans[0], kept.encoder.kept[0]
        [moved] = set(range(576)) - set(order.tolist())
        cls = kept.inputs_embeds[0, span.start : span.start + 1]
        body = patches[span.start : span.start + 576]
        by_hand = torch.cat([patches[: span.start], cls, body[order], body[[moved]], patches[span.start + 576 :]])
        torch.testing.assert_close(kept.inputs_embeds[0], by_hand, atol=1e-6, rtol=0)
        torch.testing.assert_close(got, model(inputs_embeds=by_hand[None]).logits, atol=1e-4, rtol=0)


def test_a_method_that_does_not_fit_is_refused_when_it_is_set(load: Load) -> None:
    model = load("llava-tiny-12l").model
    with pytest.raises(ValueError, match="layer_list must stay below the number of LLM layers: got 16"):
        model.reduction = create("pyramiddrop", layer_list=[4, 8, 16])
    assert model.reduction == create("none")
    model.reduction = create("visionzip", dominant=54, contextual=10)
    model.reduction = None
    assert model.reduction == create("none")
