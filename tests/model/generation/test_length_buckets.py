"""Prefilling a batch in parts of like length: the same logits, the same cache, no padding run."""

from typing import Any

import pytest
import torch
from conftest import Load, sample
from test_batches import DROP, ZIP

from llava.model.cache.staged_cache import StagedCache
from llava.model.generation.length_buckets import LEAST_TOKENS, buckets_of, prefill_in_buckets
from llava.model.layout import Layout

pytestmark = pytest.mark.shallow

QUESTIONS = ["Why?", "Is it?", "Is it?", "What color is the circle?", "Is it a dog or is it a cat on the table?"]


def test_cuts_come_where_lengths_change_and_parts_are_large_enough() -> None:
    assert buckets_of([5, 5, 5, 9, 9, 9], 10) == [(0, 3), (3, 6)]
    assert buckets_of([5, 5, 5, 9, 9, 9], 16) == [(0, 6)]
    assert buckets_of([1, 2, 3, 4], 1) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert buckets_of([7], 1) == [(0, 1)] and buckets_of([7, 7, 7], 1) == [(0, 3)]


@pytest.mark.parametrize(("name", "settings"), [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP)])
@torch.no_grad()
def test_parts_leave_the_logits_and_the_cache_of_the_whole(load: Load, name: str, settings: dict) -> None:
    loaded = load("llava-tiny-12l", name, **settings)
    model, shown = loaded.model, [sample(loaded, question, "0.png") for question in QUESTIONS]
    other = sample(loaded, QUESTIONS[4], "0.png", "1.png")  # a longer prefix, so that shorter ones are padded
    first = model.encode_image(shown[0].input_ids, shown[0].images)
    second = model.encode_image(other.input_ids, other.images)
    asked = [tuple(row.input_ids[0].tolist()[len(first.ids) :]) for row in shown]
    prefixes = [first, None, first, second, first]
    tokens = torch.tensor([3, 4, 5, 6, 7])

    def run(inputs: torch.Tensor, layout: Layout, cache: StagedCache) -> torch.Tensor:
        widths.append(inputs.shape[:2])
        arguments: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        return model(inputs_embeds=inputs, layout=layout.to_tensor(), **arguments).logits[:, -1]

    results = []
    for least in (1, 10**6):
        widths: list[tuple] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(LEAST_TOKENS, "cpu", least)
            given, cache, _ = model._start(prefixes, asked, 3)
            logits = prefill_in_buckets(given.embeds, given.layout, cache, run)
        assert len(widths) == (3 if least == 1 else 1)
        assert least > 1 or sum(rows * width for rows, width in widths) == sum(map(len, asked))
        decoded = [model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[:, -1]]
        results.append((logits, decoded[0], [cache.length(s) for s in range(len(cache.stages))]))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-4, rtol=0)
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-4, rtol=0)
    assert results[0][2] == results[1][2]


def test_answers_in_parts_are_those_of_the_questions_alone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    monkeypatch.setitem(LEAST_TOKENS, "cpu", 1)
    shown = [sample(loaded, question, "0.png") for question in QUESTIONS[::-1]]
    prefix = loaded.model.encode_image(shown[0].input_ids, shown[0].images)
    arguments = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 6}
    got = loaded.model.ask(prefix, [row.input_ids for row in shown], **arguments)
    for row, alone in zip(got, shown):
        assert torch.equal(row, loaded.model.generate(**alone._asdict(), **arguments)[0])


def test_rows_are_put_in_order_after_they_were_cut(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest question follows the longest prefix, so that the configuration's limit makes it the shortest."""
    loaded = load("llava-tiny-12l", "visionzip", **ZIP)
    monkeypatch.setitem(LEAST_TOKENS, "cpu", 1)
    shown = [sample(loaded, question, "0.png") for question in QUESTIONS[2:4]]
    shown.append(sample(loaded, QUESTIONS[4], "0.png", "1.png"))
    arguments = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 3}
    prefixes = [loaded.model.encode_image(row.input_ids, row.images) for row in shown]
    loaded.model.config.tokenizer_model_max_length = prefixes[2].lengths[0] + 2
    try:
        got = loaded.model.ask(prefixes, [row.input_ids for row in shown], **arguments)
        wanted = [loaded.model.generate(**row._asdict(), **arguments)[0] for row in shown]
    finally:
        del loaded.model.config.tokenizer_model_max_length
    assert all(torch.equal(row, alone) for row, alone in zip(got, wanted))
