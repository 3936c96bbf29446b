"""Methods inside the LLM on a small model of random weights: batches, caches, shared prefixes, positions, refusals."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.evidence.llama import LlamaEvidence
from llava.model.generation import static_decoder, static_step
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import Reduction, create
from llava.serve.engine.rows import packed

PAIRS = {"dominant": 20, "contextual": 6, "layer_list": [2, 4], "image_token_list": [[10, 4], [4, 2]]}
PYRAMID = {"layer_list": [2, 4], "image_token_ratio_list": [0.5, 0.2]}
FASTV = {"fast_v_agg_layer": 2, "fast_v_attention_rank": 9}
SPARSE = {"layer_list": [2, 3, 5], "image_token_list": [20, 9, 4]}
DROPPED = {"layer_list": [1, 3, 5], "keep_ratio_list": [0.5, 0.5, 0.0]}
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
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
NEAR = {"atol": 2e-5, "rtol": 0.0}
PROMPTS = ([1, 5, -200, 7, 3, 9, 4, 12], [1, -200, 8, 2, 6], [1, 3, 9], [1, 4, -200, 9, -200, 6, 2, 3, 8, 5, 11])
PICTURES = ([0], [1], [], [2, 3])


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    """Six layers with two query heads for each key head, 36 patches, hidden states that differ from each other."""
    torch.manual_seed(1)
    made = tiny_model(6, 6, num_key_value_heads=1)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            parameter.data.mul_(8)
    return made


def pictures(model: LlavaLlamaForCausalLM) -> list[torch.Tensor]:
    edge = model.get_vision_tower().config.image_size
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(1, 3, edge, edge, generator=generator) for _ in range(4)]


def prompt(model: LlavaLlamaForCausalLM, number: int) -> dict[str, Any]:
    shown = pictures(model)
    return {"input_ids": torch.tensor([PROMPTS[number]]), "images": [shown[at] for at in PICTURES[number]] or None}


def together(model: LlavaLlamaForCausalLM) -> dict[str, Any]:
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in PROMPTS])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in PROMPTS])
    return {"input_ids": ids, "attention_mask": mask, "images": pictures(model)}


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


def logits_of(model: LlavaLlamaForCausalLM, cache: StagedCache, first: torch.Tensor, steps: int) -> list[torch.Tensor]:
    found = [first]
    for _ in range(steps):
        token = found[-1].argmax(-1)[:, None]
        found.append(model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1])
    return found


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


@pytest.mark.parametrize("policy", ["keep", "renumber"])
@torch.no_grad()
def test_positions_are_those_that_the_policy_says(model: LlavaLlamaForCausalLM, policy: str) -> None:
    """The layers after a drop, run by hand over what was left."""
    method = create("fastv", **FASTV, positions=policy)
    trace, asked = Trace(), prompt(model, 0)
    hidden = model(**asked, reduction=method, trace=trace, output_hidden_states=True).hidden_states
    [stage] = trace.stages
    image = 2 + stage.selection.kept[0]
    places = torch.cat([torch.arange(2), image, torch.arange(38, 43)])
    positions = (places if policy == "keep" else torch.arange(len(places)))[None]
    left = stage.entering[:, places]
    assert torch.equal(left, stage.leaving)
    decoder = model.get_model()
    for layer in decoder.layers[2:]:
        left = layer(left, position_embeddings=decoder.rotary_emb(left, position_ids=positions))
    torch.testing.assert_close(decoder.norm(left), hidden[-1], **NEAR)


@torch.no_grad()
def test_contextual_tokens_keep_the_position_they_were_built_on(model: LlavaLlamaForCausalLM) -> None:
    method, trace = create("visiondrop", **PAIRS, positions="keep"), Trace()
    asked = prompt(model, 0)
    hidden = model(**asked, reduction=method, trace=trace, output_hidden_states=True).hidden_states
    decoder, positions = model.get_model(), torch.arange(2 + 26 + 5)
    left, edges = trace.stages[0].entering, [2, 4, 6]
    for stage, first, stop in zip(trace.stages, edges, edges[1:]):
        chosen, n = stage.selection, stage.before.spans[0].length
        order = torch.cat([chosen.kept[0], chosen.merged.targets[0]])
        positions = torch.cat([positions[:2], positions[2 + order], positions[2 + n :]])
        left = stage.leaving
        for layer in decoder.layers[first:stop]:
            left = layer(left, position_embeddings=decoder.rotary_emb(left, position_ids=positions[None]))
    torch.testing.assert_close(decoder.norm(left), hidden[-1], **NEAR)


@torch.no_grad()
def test_evidence_of_the_layer_that_has_run_is_its_own_attention(model: LlavaLlamaForCausalLM) -> None:
    """As transformers' eager attention shows it, two query heads to a key head, of padded rows and two images."""
    trace, method = Trace(), create("fastv", **FASTV)
    model(**together(model), reduction=method, trace=trace)
    [stage] = trace.stages
    model.set_attn_implementation("eager")
    try:
        seen = model(**together(model), reduction=create("none"), output_attentions=True).attentions[1]
    finally:
        model.set_attn_implementation("sdpa")
    decoder = model.get_model()
    positions = (torch.arange(stage.before.width) - stage.before.padding(torch.device("cpu"))).clamp(min=0)
    rotary = decoder.rotary_emb(stage.entering, position_ids=positions)
    evidence = LlamaEvidence(decoder.layers[2], stage.entering, stage.before, rotary, None, stage.around)
    assert evidence.text_lengths == (5, 3, 7, 6) and evidence.starts == (2, 1, 2, 39)
    for at, span in enumerate(stage.before.spans):
        first = stage.before.width - stage.before.lengths[span.row] + span.start
        columns = slice(first, first + span.length)
        torch.testing.assert_close(evidence.ran.attention_from_last()[at], seen[span.row, :, -1:, columns], **NEAR)
        text = [*range(first + span.length, stage.before.width)]
        if at == 2:  # the second image of its row is no text
            text = [*text[:1], *text[-6:]]
        wanted = seen[span.row][:, text, columns]
        torch.testing.assert_close(evidence.ran.attention_from_text()[at, :, : len(text)], wanted, **NEAR)
        assert torch.equal(evidence.text_values[at, : len(text)], stage.entering[span.row, text])
        assert torch.equal(evidence.entered.values[at], trace.inputs_embeds[span.row, columns])


def test_vtw_leaves_no_image_token_and_v2drop_one_or_none(model: LlavaLlamaForCausalLM) -> None:
    text = len(PROMPTS[0]) - 1
    for method, counts in (
        (create("vtw", layer=3), [36, 0]),
        (create("v2drop", **DROPPED), [36, 18, 9, 1]),
        (create("v2drop", **DROPPED, least=0), [36, 18, 9, 0]),
    ):
        assert method.tokens_per_stage(model.geometry) == counts
        out = model.generate(**prompt(model, 0), reduction=method, **GREEDY, return_dict_in_generate=True)
        lengths = [out.past_key_values.length(stage) for stage in range(len(counts))]
        assert lengths == [text + count + 3 for count in counts]


def test_later_turns_continue_at_kept_positions(model: LlavaLlamaForCausalLM) -> None:
    for method in (create("v2drop", **DROPPED), create("visiondrop", **PAIRS, positions="keep")):
        asked = prompt(model, 0)
        first = model.generate(**asked, reduction=method, **GREEDY, **LOGITS)
        ids = torch.cat([asked["input_ids"], first.sequences, torch.tensor([[6, 2, 9]])], dim=1)
        turn = model.generate(ids, past_key_values=first.past_key_values, reduction=method, **GREEDY, **LOGITS)
        whole = model.generate(ids, images=asked["images"], reduction=method, **GREEDY, **LOGITS)
        torch.testing.assert_close(torch.cat(turn.logits), torch.cat(whole.logits), **NEAR)


def test_beams_follow_a_method_that_chooses_at_every_token(model: LlavaLlamaForCausalLM) -> None:
    beams = {**GREEDY, "num_beams": 3}
    for mode in ("mask", "inplace", "kvcache"):
        method = create("fastv", **FASTV, mode=mode)
        batch = model.generate(**together(model), reduction=method, **beams)
        for number in range(4):
            alone = model.generate(**prompt(model, number), reduction=method, **beams)
            assert torch.equal(batch[number], alone[0]), mode


def test_what_cannot_be_is_refused(model: LlavaLlamaForCausalLM) -> None:
    with pytest.raises(InputError, match="positions of fastv's mode mask must be keep"):
        create("fastv", mode="mask", positions="renumber")
    with pytest.raises(InputError, match="positions must be keep or renumber: got 'stay'"):
        create("visiondrop", **PAIRS, positions="stay")
    with pytest.raises(InputError, match="mode must be kvcache or inplace or mask: got 'drop'"):
        create("fastv", mode="drop")
    late = create("fastv", **FASTV, fast_v_sys_length=3)
    with pytest.raises(InputError, match="said to begin at token 3 must be alone in its row: got several"):
        model.generate(**prompt(model, 3), reduction=late, **GREEDY)
    masked = create("fastv", **FASTV, mode="mask")
    asked = prompt(model, 0)
    first = model.generate(**asked, reduction=masked, **GREEDY, return_dict_in_generate=True)
    ids = torch.cat([asked["input_ids"], first.sequences, torch.tensor([[6]])], dim=1)
    with pytest.raises(InputError, match="one new token at a time: got a cached conversation that goes on"):
        model.generate(ids, past_key_values=first.past_key_values, reduction=masked, **GREEDY)
    with pytest.raises(InputError, match="one new token at a time: got 2"):
        model(input_ids=ids[:, -2:], past_key_values=first.past_key_values)


def test_an_image_said_to_begin_later_gives_up_its_first_token(model: LlavaLlamaForCausalLM) -> None:
    """As the official scripts have it: the first patch stays as if it were text, and a text token may go."""
    trace = Trace()
    model.generate(**prompt(model, 0), reduction=create("fastv", **FASTV, fast_v_sys_length=3), trace=trace, **GREEDY)
    [stage] = trace.stages
    assert (stage.before.spans[0].start, stage.after.spans[0].start, stage.after.spans[0].length) == (3, 3, 9)
    assert torch.equal(stage.leaving[0, :3], stage.entering[0, :3])


def test_pictures_of_the_fixture_differ(model: LlavaLlamaForCausalLM) -> None:
    """So that the comparisons above compare something."""
    first = model.generate(**prompt(model, 0), **GREEDY, **LOGITS)
    for method in (create("fastv", **FASTV), create("vtw", layer=3), create("v2drop", **DROPPED)):
        other = model.generate(**prompt(model, 0), reduction=method, **GREEDY, **LOGITS)
        assert (first.logits[0] - other.logits[0]).abs().max() > 1e-3


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
