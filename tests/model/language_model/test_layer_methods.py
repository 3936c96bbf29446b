"""Methods inside the LLM on a small random model: batches, caches, shared prefixes, rows that come and go."""

from typing import Any

import pytest
import torch
from layered import (
    DROPPED,
    FASTV,
    GREEDY,
    LOGITS,
    NEAR,
    PAIRS,
    PROMPTS,
    PYRAMID,
    SPARSE,
    layered_model,
    logits_of,
    prompt,
    together,
)

from llava.errors import InputError
from llava.model.generation import static_decoder, static_step
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.reduction import Reduction, create
from llava.serve.engine.rows import packed

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("visiondrop", PAIRS),
    ("visiondrop", {**PAIRS, "positions": "keep"}),
    ("pyramiddrop", {**PYRAMID, "positions": "keep"}),
    ("fastv", FASTV),
    ("fastv", {**FASTV, "positions": "renumber"}),
    ("fastv", {**FASTV, "mode": "inplace"}),
    ("fastv", {**FASTV, "mode": "mask"}),
    ("dart", {"pruned_layer": 2, "max_num_trunction": 13}),
    ("dart", {"pruned_layer": 2, "max_num_trunction": 16, "published": True, "positions": "renumber"}),
    ("sparsevlm", SPARSE),
    ("sparsevlm", {**SPARSE, "positions": "keep", "published": True}),
    ("sparsevlm", {**SPARSE, "release": "2.0"}),
    ("sparsevlm", {"release": "1.0", "layer_list": [2, 3, 5], "scale": 1.5}),
    ("v2drop", DROPPED),
    ("v2drop", {**DROPPED, "least": 0, "positions": "renumber"}),
    ("vtw", {"layer": 3}),
    ("vtw", {"layer": 3, "remainder": 5, "positions": "renumber"}),
]
EACH = pytest.mark.parametrize("method", [create(name, **settings) for name, settings in METHODS], ids=repr)


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    return layered_model()


@EACH
def test_rows_of_a_batch_answer_as_they_do_alone(model: LlavaLlamaForCausalLM, method: Reduction) -> None:
    """One image, another, none, and two in a row; published DART keeps its turns, which the row's start decides."""
    batch = model.generate(**together(model), reduction=method, **GREEDY, **LOGITS)
    for number in range(4):
        alone = model.generate(**prompt(model, number), reduction=method, **GREEDY, **LOGITS)
        rows = torch.stack([logits[number] for logits in batch.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), **NEAR)


@EACH
@torch.no_grad()
def test_cached_decoding_equals_running_everything_again(model: LlavaLlamaForCausalLM, method: Reduction) -> None:
    """Of methods that read the question only the one that says so chooses again by the newest token."""
    asked = prompt(model, 3)
    got = model.generate(**asked, reduction=method, **GREEDY, **LOGITS)
    again = 4 if method.recomputes or not method.reads_question else 1
    for number in range(again):
        ids = torch.cat([asked["input_ids"], got.sequences[:, :number]], dim=1)
        logits = model(ids, images=asked["images"], reduction=method).logits[:, -1]
        torch.testing.assert_close(logits, got.logits[number], **NEAR)


@EACH
def test_a_shared_prefix_answers_as_the_whole_prompt(
    model: LlavaLlamaForCausalLM, method: Reduction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a question that goes without an image, and in buffers of fixed shape."""
    numbers = [1, 0, 3]
    prefixes: list[Any] = [
        model.encode_image(torch.tensor(PROMPTS[at]), prompt(model, at)["images"], reduction=method) for at in numbers
    ]
    for prefix in prefixes:
        assert (prefix.blocks == ()) == method.reads_question
    rows = [*numbers, 2, 1]
    asked = [*prefixes, None, prefixes[0]]
    ids = [PROMPTS[at] for at in rows]
    ids[-1] = [9, 2, 4, 4, 7]
    got = model.ask(asked, ids, **GREEDY, **LOGITS)
    tokens = model.ask(asked, ids, **GREEDY)
    assert torch.equal(tokens, got.sequences)
    for row, at in enumerate(rows[:-1]):
        alone = model.generate(**prompt(model, at), reduction=method, **GREEDY, **LOGITS)
        torch.testing.assert_close(torch.stack([logits[row] for logits in got.logits]), torch.cat(alone.logits), **NEAR)
    decoder = static_decoder.StaticDecoder(model)
    monkeypatch.setattr(decoder, "_prepared", lambda state: lambda: static_step.run_step(model, state))
    if method.recomputes:
        return  # nothing is cached that could be compiled
    assert torch.equal(model.ask(asked, ids, decoder=decoder, **GREEDY), tokens)
    assert decoder.works != method.masks


@EACH
@torch.no_grad()
def test_rows_that_come_and_go_keep_their_positions(model: LlavaLlamaForCausalLM, method: Reduction) -> None:
    """What the server does: rows prefilled apart are put together, and go on as they would alone."""
    prefixes: list[Any] = [
        model.encode_image(torch.tensor(PROMPTS[at]), prompt(model, at)["images"], reduction=method) for at in (0, 3)
    ]
    asked = [PROMPTS[0], PROMPTS[3]]
    if method.masks or method.recomputes:
        with pytest.raises(InputError, match="need a method that chooses once: got fastv in a form that chooses"):
            model.prefill(prefixes, asked, method)
        return
    own = [model.prefill([prefix], [ids], method) for prefix, ids in zip(prefixes, asked)]
    text = model.prefill([None], [PROMPTS[2]], method)
    everyone = [*own, text]
    joined = packed([(cache, [0]) for cache, _, _ in everyone], [row for _, _, [row] in everyone]).cache
    together = logits_of(model, joined, torch.cat([first for _, first, _ in everyone]), 3)
    for number, (cache, first, _) in enumerate(everyone):
        for wanted, got in zip(logits_of(model, cache, first, 3), together):
            torch.testing.assert_close(got[number : number + 1], wanted, **NEAR)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fastv", {"ratio_kept": 1.0}),
        ("fastv", {"ratio_kept": 1.0, "positions": "renumber"}),
        ("fastv", {"fast_v_attention_rank": 36, "mode": "mask"}),
        ("dart", {"max_num_trunction": 36}),
        ("dart", {"max_num_trunction": 300, "published": True}),
        ("sparsevlm", {"layer_list": [2, 4], "image_token_list": [36, 36]}),
        ("sparsevlm", {"layer_list": [2, 4], "image_token_list": [40, 36], "release": "2.0"}),
        ("v2drop", {"layer_list": [2, 4], "keep_ratio_list": [1.0, 1.0]}),
    ],
)
def test_keeping_everything_is_plain_llava(model: LlavaLlamaForCausalLM, name: str, settings: dict) -> None:
    method = create(name, **settings)
    plain = model.generate(**together(model), **GREEDY, **LOGITS)
    got = model.generate(**together(model), reduction=method, **GREEDY, **LOGITS)
    torch.testing.assert_close(torch.stack(got.logits), torch.stack(plain.logits), **NEAR)


@EACH
def test_training_rows_lose_what_they_lose_alone(model: LlavaLlamaForCausalLM, method: Reduction) -> None:
    """Answers of two tokens; the second row has none, so that its image stays whole where the question is read."""
    if method.masks:
        pytest.skip("what is masked stays in the sequence: the same losses by another way")
    asked = together(model)
    labels = torch.full_like(asked["input_ids"], -100)
    width = labels.shape[1]
    for row, end in ((0, width), (2, width), (3, width - 2)):
        labels[row, end - 2 : end] = asked["input_ids"][row, end - 2 : end]
    loss = model(**asked, labels=labels, reduction=method, use_cache=False).loss
    loss.backward()
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())
    model.zero_grad()
    total = torch.tensor(0.0)
    with torch.no_grad():
        for row in (0, 2, 3):
            own = labels[row : row + 1, -len(PROMPTS[row]) :]
            total += 2 * model(**prompt(model, row), labels=own, reduction=method, use_cache=False).loss
    torch.testing.assert_close(loss.detach(), total / 6, atol=1e-5, rtol=0)
