"""A method that leaves gaps between positions on entering the LLM, on pictures of several sizes and their tiles."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from llava.errors import InputError
from llava.model.cache.staged_cache import StagedCache
from llava.model.generation import static_decoder, static_step
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.trace import Trace
from llava.reduction import create
from llava.reduction.methods.gprune import kept_of
from llava.serve.engine.rows import joined, packed

EDGE = 16
ANYRES = {"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"}
GRIDS = [[EDGE, 2 * EDGE], [2 * EDGE, EDGE], [2 * EDGE, 2 * EDGE]]
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
NEAR = {"atol": 2e-5, "rtol": 0.0}
METHOD = create("gprune", keep_ratio=0.3, similarity=0.1)
# A prompt, and for each of its pictures (width, height), which says how many tiles there are: 4, 2, none, 2 and 4.
ROWS: list[tuple[list[int], list[tuple[int, int]]]] = [
    ([1, -200, 7, 3, 9, 5], [(32, 32)]),
    ([1, 4, 5, -200, 8, 2], [(16, 40)]),
    ([1, 6, 2], []),
    ([1, -200, 6, 6, -200, 11, 4], [(32, 12), (32, 32)]),
]
VIEWS = {(32, 32): 5, (16, 40): 3, (32, 12): 3}


@pytest.fixture(scope="module")
def model() -> LlavaLlamaForCausalLM:
    torch.manual_seed(2)
    made = tiny_model(EDGE // 4, 3, num_key_value_heads=1, image_grid_pinpoints=GRIDS, **ANYRES)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            parameter.data.mul_(8)
    made.reduction = METHOD
    return made


def asked(*rows: int) -> dict[str, Any]:
    width = max(len(ROWS[at][0]) for at in rows)
    ids = torch.tensor([[0] * (width - len(ROWS[at][0])) + ROWS[at][0] for at in rows])
    mask = torch.tensor([[0] * (width - len(ROWS[at][0])) + [1] * len(ROWS[at][0]) for at in rows])
    sizes = [size for at in rows for size in ROWS[at][1]]
    pictures = [
        torch.randn(VIEWS[size], 3, EDGE, EDGE, generator=torch.Generator().manual_seed(7 * at + number))
        for at in rows
        for number, size in enumerate(ROWS[at][1])
    ]
    return {"input_ids": ids, "attention_mask": mask, "images": pictures or None, "image_sizes": sizes or None}


def prefixes(model: LlavaLlamaForCausalLM, *rows: int) -> list[Any]:
    """Of each row, None where it has no picture."""
    shown = [asked(at) for at in rows]
    return [
        model.encode_image(one["input_ids"], one["images"], one["image_sizes"]) if one["images"] else None
        for one in shown
    ]


@torch.no_grad()
def test_what_is_left_stands_where_it_stood(model: LlavaLlamaForCausalLM) -> None:
    """The layers run by hand: newlines and the chosen of base view and tiles, of two pictures, at their old places."""
    row, whole, trace = asked(3), Trace(), Trace()
    model(**row, reduction="none", trace=whole)
    hidden = model(**row, trace=trace, output_hidden_states=True).hidden_states
    assert trace.encoder is not None and trace.encoder.kept_counts[1] > trace.encoder.kept_counts[0]
    first, second = (
        trace.encoder.kept[at, :count] + span.start
        for at, (count, span) in enumerate(zip(trace.encoder.kept_counts, whole.layout.spans))
    )
    [one, other] = whole.layout.spans
    text = torch.arange(whole.layout.width)
    between, after = text[one.start + one.length : other.start], text[other.start + other.length :]
    places = torch.cat([text[:1], first, between, second, after])
    left = whole.inputs_embeds[:, places]
    assert torch.equal(left, trace.inputs_embeds)
    decoder = model.get_model()
    rotary = decoder.rotary_emb(left, position_ids=places[None])
    for layer in decoder.layers:
        left = layer(left, position_embeddings=rotary)
    torch.testing.assert_close(decoder.norm(left), hidden[-1], **NEAR)
    counted = model(**row, reduction=create("gprune", keep_ratio=0.3, similarity=0.1, positions="renumber")).logits
    assert (counted - model(**row).logits).abs().max() > 1e-3


def test_counts_are_those_announced_for_the_largest_picture(model: LlavaLlamaForCausalLM) -> None:
    trace = Trace()
    model.generate(**asked(0, 1, 2, 3), trace=trace, **GREEDY)
    tiles = ((8, 8), (8, 4), (4, 8), (8, 8))  # rows and columns of each picture's, hardly any of which is padding
    wanted = [rows + kept_of(0.3, 16) + kept_of(0.3, rows * columns) for rows, columns in tiles]
    assert [span.length for span in trace.layout.spans] == wanted
    assert METHOD.tokens_per_stage(model.geometry) == [max(wanted)]
    assert [span.gap + span.length for span in trace.layout.spans] == [16 + 72, 16 + 40, 16 + 36, 16 + 72]


@torch.no_grad()
def test_rows_of_a_batch_answer_as_they_do_alone_and_cached_as_uncached(model: LlavaLlamaForCausalLM) -> None:
    together = model.generate(**asked(0, 1, 2, 3), **GREEDY, **LOGITS)
    beams = model.generate(**asked(0, 1, 2, 3), **GREEDY, num_beams=3)
    for row in range(4):
        one = asked(row)
        alone = model.generate(**one, **GREEDY, **LOGITS)
        rows = torch.stack([logits[row] for logits in together.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), **NEAR)
        assert torch.equal(beams[row], model.generate(**one, **GREEDY, num_beams=3)[0])
        ids = torch.cat([one["input_ids"], alone.sequences[:, :3]], dim=1)
        again = model(ids, images=one["images"], image_sizes=one["image_sizes"]).logits
        torch.testing.assert_close(again[0, -4:], torch.cat(alone.logits), **NEAR)


def test_shared_images_answer_as_whole_prompts(model: LlavaLlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a question without a picture, by transformers' loop, by the own one and in buffers of fixed shape."""
    own, ids = prefixes(model, 0, 1, 2, 3), [ROWS[at][0] for at in range(4)]
    got = model.ask(own, ids, **GREEDY, **LOGITS)
    tokens = model.ask(own, ids, **GREEDY)
    decoder = static_decoder.StaticDecoder(model)
    monkeypatch.setattr(decoder, "_prepared", lambda state: lambda: static_step.run_step(model, state))
    assert torch.equal(tokens, got.sequences) and torch.equal(model.ask(own, ids, decoder=decoder, **GREEDY), tokens)
    assert decoder.works
    for row in range(4):
        alone = model.generate(**asked(row), **GREEDY, **LOGITS)
        torch.testing.assert_close(torch.stack([logits[row] for logits in got.logits]), torch.cat(alone.logits), **NEAR)


def test_questions_in_buckets_of_like_length_stand_where_they_do_together(
    model: LlavaLlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, ids = prefixes(model, 0, 1, 2), [ROWS[at][0] for at in range(3)]
    ids[0] = [7, 3, 9, 5, 4, 4, 4, 2, 8]
    wanted = model.ask(own, ids, **GREEDY)
    monkeypatch.setattr("llava.model.generation.length_buckets.buckets_of", lambda *_: [(0, 1), (1, 2), (2, 3)])
    assert torch.equal(model.ask(own, ids, **GREEDY), wanted)


@torch.no_grad()
def test_rows_that_come_and_go_keep_their_gaps(model: LlavaLlamaForCausalLM) -> None:
    """What the server does: rows prefilled apart are put together, one leaves, one joins, and all go on as alone."""

    def steps(cache: StagedCache, token: torch.Tensor, count: int) -> list[torch.Tensor]:
        found = []
        for _ in range(count):
            found.append(model(input_ids=token[:, None], past_key_values=cache, use_cache=True).logits[:, -1])
            token = found[-1].argmax(-1)
        return found

    order = (0, 2, 1, 3)
    apart = [model.prefill(prefixes(model, at), [ROWS[at][0]], METHOD) for at in order]
    tokens = torch.cat([logits.argmax(-1) for _, logits, _ in apart])
    lengths = [row for _, _, [row] in apart]
    slots = packed([(cache, [0]) for cache, _, _ in apart[:3]], lengths[:3])
    assert slots.cache.gaps[0] > slots.cache.gaps[2] > slots.cache.gaps[1] == 0
    kept = slots.keep([1, 2])
    slots = joined(slots, apart[3][0], [0], [lengths[at] for at in (*kept, 3)])
    together = steps(slots.cache, tokens[[*kept, 3]], 3)
    for place, at in enumerate((*kept, 3)):
        wanted = steps(apart[at][0], tokens[at : at + 1], 3)
        for one, other in zip(wanted, together):
            torch.testing.assert_close(other[place : place + 1], one, **NEAR)


def test_later_turns_and_later_pictures_go_on_behind_the_gaps(model: LlavaLlamaForCausalLM) -> None:
    row = asked(0)
    first = model.generate(**row, **GREEDY, **LOGITS)
    ids = torch.cat([row["input_ids"], first.sequences, torch.tensor([[6, 2, 9]])], dim=1)
    turn = model.generate(ids, past_key_values=first.past_key_values, **GREEDY, **LOGITS)
    shown = {"images": row["images"], "image_sizes": row["image_sizes"]}
    whole = model.generate(ids, **shown, **GREEDY, **LOGITS)
    torch.testing.assert_close(torch.cat(turn.logits), torch.cat(whole.logits), **NEAR)
    more = asked(1)
    ids = torch.cat([ids, turn.sequences, more["input_ids"]], dim=1)
    shown = {name: shown[name] + more[name] for name in shown}
    turn = model.generate(ids, **shown, past_key_values=turn.past_key_values, **GREEDY, **LOGITS)
    whole = model.generate(ids, **shown, **GREEDY, **LOGITS)
    torch.testing.assert_close(torch.cat(turn.logits), torch.cat(whole.logits), **NEAR)


def test_prompts_that_are_cut_are_cut_alike_with_and_without_sharing(model: LlavaLlamaForCausalLM) -> None:
    row = asked(0)
    for limit in (20, 34):  # inside the picture, inside the question
        model.config.tokenizer_model_max_length = limit
        try:
            with pytest.warns(UserWarning, match="a prompt is cut off: with its images it has 36 tokens"):
                wanted = model.generate(**row, **GREEDY)
            with pytest.warns(UserWarning, match="a prompt is cut off"):
                got = model.ask(prefixes(model, 0), [ROWS[0][0]], **GREEDY)
        finally:
            del model.config.tokenizer_model_max_length
        assert torch.equal(got, wanted)


def test_training_rows_lose_what_they_lose_alone(model: LlavaLlamaForCausalLM) -> None:
    batch = asked(0, 1, 3)
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, -2:] = batch["input_ids"][:, -2:]
    loss = model(**batch, labels=labels, use_cache=False).loss
    loss.backward()
    assert any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())
    model.zero_grad()
    with torch.no_grad():
        own = [model(**asked(at), labels=labels[row : row + 1, -len(ROWS[at][0]) :], use_cache=False).loss
               for row, at in enumerate((0, 1, 3))]  # fmt: skip
    torch.testing.assert_close(loss.detach(), torch.stack(own).mean(), atol=1e-5, rtol=0)


def test_what_knows_no_gaps_is_refused(model: LlavaLlamaForCausalLM) -> None:
    row = asked(0)
    with pytest.raises(InputError, match="embeddings do not say at which positions they stand: .* 'gprune', which le"):
        model.prepare_inputs_labels_for_multimodal(
            row["input_ids"], None, None, None, None, row["images"], row["image_sizes"]
        )


def test_what_passes_the_positions_that_a_model_knows_is_said(model: LlavaLlamaForCausalLM) -> None:
    """A prompt of 36 tokens takes 93 positions."""
    longest = model.config.max_position_embeddings
    model.config.max_position_embeddings = 95
    try:
        with pytest.warns(UserWarning, match="a prompt has 93 tokens with its images and may be answered by 4 more"):
            model.generate(**asked(0), **GREEDY)
        with pytest.warns(UserWarning, match="a prompt has 93 tokens with its images and may be answered by 4 more"):
            model.ask(prefixes(model, 0), [ROWS[0][0]], **GREEDY)
    finally:
        model.config.max_position_embeddings = longest
