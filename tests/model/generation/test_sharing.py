"""An image's work done once: every answer and logit is that of the whole prompt run alone."""

from typing import Any

import pytest
import torch
from conftest import Load, Loaded, Sample, sample
from snapshots import snapshot
from test_batches import DROP, DROP_NEXT, PYRAMID, PYRAMID_NEXT, ZIP

from llava.errors import InputError
from llava.model.generation.prefix import ImagePrefix
from llava.reduction import create

pytestmark = pytest.mark.shallow

CASES = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP), ("pyramiddrop", PYRAMID)]
NEXT = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP_NEXT), ("pyramiddrop", PYRAMID_NEXT)]
ALL = [("llava-tiny-12l", *case) for case in CASES]
ALL += [pytest.param("llava-tiny-next", *case, marks=pytest.mark.slow) for case in NEXT if case[0] != "visiondrop"]
ALL += [("llava-tiny-next", "visiondrop", DROP_NEXT)]
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 4}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
QUESTIONS = ["What color is the circle?", "Is it a dog?\nAnswer the question using a single word or phrase.", "Où?"]


def encoded(loaded: Loaded, asked: Sample) -> ImagePrefix:
    return loaded.model.encode_image(asked.input_ids, asked.images, asked.image_sizes)


@pytest.mark.parametrize(("checkpoint", "name", "settings"), ALL)
def test_logits_and_answers_are_those_of_the_whole_prompt(
    load: Load, checkpoint: str, name: str, settings: dict
) -> None:
    """Questions of other lengths about one picture, one about another, and one without picture, out of order."""
    loaded = load(checkpoint, name, **settings)
    count = 3 if checkpoint == "llava-tiny-12l" else 1 if name == "none" else 2  # LLaVA-NeXT has 2900 tokens a prompt
    samples = [sample(loaded, question, "0.png") for question in QUESTIONS[:count]]
    samples += [sample(loaded, QUESTIONS[1], "1.png"), sample(loaded, QUESTIONS[0])]
    first, second = encoded(loaded, samples[0]), encoded(loaded, samples[-2])
    prefixes = [*[first] * count, second, None]
    order = [count, 0, count + 1, *range(count - 1, 0, -1)]
    arguments = [[prefixes[at] for at in order], [samples[at].input_ids for at in order]]
    got = loaded.model.ask(*arguments, **GREEDY, **LOGITS)
    tokens = loaded.model.ask(*arguments, **GREEDY)
    assert torch.equal(tokens, got.sequences)
    for row, at in enumerate(order):
        alone = loaded.model.generate(**samples[at]._asdict(), **GREEDY, **LOGITS)
        rows = torch.stack([logits[row] for logits in got.logits])
        torch.testing.assert_close(rows, torch.cat(alone.logits), atol=1e-4, rtol=0)
        assert torch.equal(tokens[row], alone.sequences[0])


def test_a_method_that_reads_the_question_shares_the_tokens_of_the_image_alone(load: Load) -> None:
    for name, settings in CASES:
        loaded = load("llava-tiny-12l", name, **settings)
        prefix = encoded(loaded, sample(loaded, QUESTIONS[0], "0.png"))
        reads = name == "pyramiddrop"
        assert (prefix.blocks == ()) == reads and (prefix.features is not None) == reads


def test_a_prefix_holds_the_tokens_of_its_stages_and_no_byte_more(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked = [sample(loaded, question, f"{at}.png") for at, question in enumerate(QUESTIONS)]
    images = [image for row in asked for image in row.images]
    together = loaded.model.encode_prefixes([row.input_ids for row in asked], images)
    text = together[0].ids.index(-200)
    config = loaded.model.config
    per_token = 2 * 4 * config.num_key_value_heads * loaded.model.model.layers[0].self_attn.head_dim
    for row, prefix in zip(asked, together):
        assert prefix.lengths == tuple(text + count for count in (64, 40, 25, 10))
        assert prefix.nbytes == per_token * sum(n * run for n, run in zip(prefix.lengths, (2, 3, 4, 3)))
        assert all(b.states.untyped_storage().nbytes() == b.states.numel() * 4 for b in prefix.blocks)
        for one, other in zip(encoded(loaded, row).blocks, prefix.blocks):
            torch.testing.assert_close(one.states, other.states, atol=1e-4, rtol=0)


def test_asking_leaves_prefix_and_model_as_they_were(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked = sample(loaded, QUESTIONS[0], "0.png")
    model, config = snapshot(loaded.model), loaded.model.config.to_dict()
    prefix = encoded(loaded, asked)
    before = [block.states.clone() for block in prefix.blocks]
    for _ in range(2):
        loaded.model.ask(prefix, [asked.input_ids], **GREEDY)
    after = snapshot(loaded.model)
    assert [key for key in model if model[key] is not after[key] and model[key] != after[key]] == []
    assert loaded.model.config.to_dict() == config
    assert all(torch.equal(old, block.states) for old, block in zip(before, prefix.blocks))


@pytest.mark.parametrize(("name", "settings"), [CASES[2], CASES[3]])
def test_beams_and_sampling_go_through_transformers(load: Load, name: str, settings: dict) -> None:
    loaded = load("llava-tiny-12l", name, **settings)
    asked = [sample(loaded, question, "0.png") for question in QUESTIONS]
    prefix = encoded(loaded, asked[0])
    beams = {**GREEDY, "num_beams": 3}
    got = loaded.model.ask(prefix, [row.input_ids for row in asked], **beams)
    for row, alone in zip(got, asked):
        assert torch.equal(row, loaded.model.generate(**alone._asdict(), **beams)[0])
    hot = {"do_sample": True, "temperature": 1.5, "eos_token_id": None, "max_new_tokens": 8}
    torch.manual_seed(3)
    drawn = loaded.model.ask(prefix, [asked[0].input_ids], **hot)
    torch.manual_seed(3)
    assert torch.equal(drawn, loaded.model.generate(**asked[0]._asdict(), **hot))


def test_later_turns_continue_from_the_cache_of_an_answer(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked = sample(loaded, QUESTIONS[0], "0.png")
    first = loaded.model.ask(encoded(loaded, asked), [asked.input_ids], **GREEDY, **LOGITS)
    ids, cache = torch.cat([asked.input_ids, first.sequences], dim=1), first.past_key_values
    for text in (" USER: And the dog? ASSISTANT:", " USER: Why? ASSISTANT:"):
        more = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        ids = torch.cat([ids, more], dim=1)
        turn = loaded.model.generate(ids, past_key_values=cache, **GREEDY, **LOGITS)
        whole = loaded.model.generate(ids, images=asked.images, **GREEDY, **LOGITS)
        assert torch.equal(turn.sequences, whole.sequences)
        torch.testing.assert_close(torch.cat(turn.logits), torch.cat(whole.logits), atol=1e-4, rtol=0)
        ids, cache = torch.cat([ids, turn.sequences], dim=1), turn.past_key_values


def test_rows_end_where_transformers_ends_them(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked = [sample(loaded, question, "0.png") for question in QUESTIONS]
    prefix, ids = encoded(loaded, asked[0]), [row.input_ids for row in asked]
    free = loaded.model.ask(prefix, ids, **GREEDY | {"max_new_tokens": 9})
    for end in (int(free[0, 1]), [int(free[0, 1]), int(free[1, 4]), int(free[2, 0])]):
        arguments = {"do_sample": False, "max_new_tokens": 9, "eos_token_id": end, "pad_token_id": 0}
        wanted = loaded.model.ask(prefix, ids, **arguments, return_dict_in_generate=True).sequences
        assert torch.equal(loaded.model.ask(prefix, ids, **arguments), wanted)


def test_a_question_is_cut_where_the_configuration_says(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visionzip", **ZIP)
    asked = sample(loaded, QUESTIONS[1], "0.png")
    whole = asked.input_ids.shape[1] + 63
    for limit in (whole - 5, 50):  # inside the question, inside the image
        loaded.model.config.tokenizer_model_max_length = limit
        try:
            prefix = encoded(loaded, asked)
            got = loaded.model.ask(prefix, [asked.input_ids], **GREEDY)
            wanted = loaded.model.generate(**asked._asdict(), **GREEDY)
        finally:
            del loaded.model.config.tokenizer_model_max_length
        assert torch.equal(got, wanted) and (prefix.features is None) == (limit > 50)


def test_what_cannot_be_shared_is_refused(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    asked = sample(loaded, QUESTIONS[0], "0.png")
    prefix = encoded(loaded, asked)
    other = loaded.model.encode_image(asked.input_ids, asked.images, reduction=create("visionzip", **ZIP))
    with pytest.raises(InputError, match="encode_image needs a prompt with <image>"):
        loaded.model.encode_image(torch.tensor([1, 5]), None)
    with pytest.raises(InputError, match="a prefix for each question: got 1 for 2 questions"):
        loaded.model.ask([prefix], [[5], [6]])
    with pytest.raises(InputError, match="a question must follow the prefix it is asked about"):
        loaded.model.ask(prefix, [[1, -200, 7]])
    with pytest.raises(InputError, match="at least one token after the last <image>: got none"):
        loaded.model.ask(prefix, [prefix.ids])
    with pytest.raises(InputError, match="must be of one method: got .*VisionDrop.* and .*VisionZip"):
        loaded.model.ask([prefix, other], [[5], [6]])
