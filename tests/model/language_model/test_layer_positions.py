"""Positions after a drop inside the LLM, and what a method is told of the layer that has run."""

import pytest
import torch
from layered import DROPPED, FASTV, GREEDY, LOGITS, NEAR, PAIRS, layered_model, prompt, together

from llava.model.evidence.llama import LlamaEvidence
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import create


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    return layered_model()


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


def test_later_turns_continue_at_kept_positions(model: LlavaLlamaForCausalLM) -> None:
    for method in (create("v2drop", **DROPPED), create("visiondrop", **PAIRS, positions="keep")):
        asked = prompt(model, 0)
        first = model.generate(**asked, reduction=method, **GREEDY, **LOGITS)
        ids = torch.cat([asked["input_ids"], first.sequences, torch.tensor([[6, 2, 9]])], dim=1)
        turn = model.generate(ids, past_key_values=first.past_key_values, reduction=method, **GREEDY, **LOGITS)
        whole = model.generate(ids, images=asked["images"], reduction=method, **GREEDY, **LOGITS)
        torch.testing.assert_close(torch.cat(turn.logits), torch.cat(whole.logits), **NEAR)
