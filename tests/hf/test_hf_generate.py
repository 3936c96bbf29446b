"""`generate` and `forward` of reduced models of transformers' classes: batches, beams, samples, caches."""

from typing import Any

import pytest
import torch
from tiny_hf import MODELS, PICTURE, inputs

import llava.hf
from llava.model.trace import Trace

OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")
OF_PICTURES = ("pixel_values", "image_grid_thw", "image_sizes", "batch_num_images")
REDUCTIONS: list[tuple[str, dict[str, Any]]] = [
    ("visiondrop", {"retain": 0.3}),
    ("visionzip", {"retain": 0.4}),
    ("pyramiddrop", {"retain": 0.6}),
    ("fastervlm", {"retain": 0.4}),
    ("random", {"retain": 0.3}),
]
ROWS = [[0], [1]]
GREEDY = {"max_new_tokens": 5, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
every_model = pytest.mark.parametrize("name", MODELS)
every_reduction = pytest.mark.parametrize(("method", "settings"), REDUCTIONS, ids=[method for method, _ in REDUCTIONS])


def alone(given: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """One row of prompts of one picture each, without its padding."""
    keep = given["attention_mask"][row].bool()
    made = {key: given[key][row, keep][None] for key in OF_TOKENS if key in given}
    if "image_grid_thw" in given:
        counts = given["image_grid_thw"].prod(dim=1).tolist()
        return {
            **made,
            "pixel_values": given["pixel_values"].split(counts)[row],
            "image_grid_thw": given["image_grid_thw"][row : row + 1],
        }
    if len(given["pixel_values"]) != len(given["input_ids"]):  # InternVL's tiles
        tiles = [int((ids == PICTURE).sum()) // 16 for ids in given["input_ids"]]
        return {**made, "pixel_values": given["pixel_values"].split(tiles)[row]}
    rest = ("pixel_values", "image_sizes", "batch_num_images")
    return {**made, **{key: given[key][row : row + 1] for key in rest if key in given}}


def cached(output: Any) -> list[int]:
    return [layer.get_seq_length() for layer in output.past_key_values.layers]


@every_model
def test_everything_kept_is_the_original_bit_for_bit(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    wanted = model.generate(**given, **GREEDY)
    whole = {"internvl": 16}.get(name, 24 if hasattr(model.model, "visual") else 36)  # of a view
    ways: list[tuple[str, dict[str, Any]]] = [("none", {}), ("fastervlm", {"retain": 1.0})]
    if name not in ("llava_next", "onevision"):  # there padding and newlines go where a method keeps patches of tiles
        ways += [("random", {"keep": whole}), ("fastervlm", {"visual_token_num": whole})]
    ways.append(("fastv", {"fast_v_agg_layer": 2, "fast_v_attention_rank": 4000}))
    for method, settings in ways:
        got = llava.hf.reduce(model, method, **settings).generate(**given, **GREEDY)
        assert torch.equal(got.sequences, wanted.sequences)
        for one, other in zip(got.logits, wanted.logits, strict=True):
            assert torch.equal(one, other)


@every_model
@every_reduction
def test_a_row_of_a_batch_is_answered_as_alone(name: str, method: str, settings: dict[str, Any]) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, method, **settings)
    both = reduced.generate(**given, **GREEDY)
    assert both.sequences.shape[1] == given["input_ids"].shape[1] + 5
    assert torch.equal(both.sequences[:, :-5], given["input_ids"])
    for row in range(2):
        own = reduced.generate(**alone(given, row), **GREEDY)
        assert torch.equal(own.sequences[0, -5:], both.sequences[row, -5:])
        for one, other in zip(own.logits, both.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)


@every_model
@every_reduction
def test_beams_of_a_batch_are_those_alone(name: str, method: str, settings: dict[str, Any]) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, method, **settings)
    beams = {"max_new_tokens": 4, "num_beams": 3, "num_return_sequences": 2, "do_sample": False}
    both = reduced.generate(**given, **beams)
    for row in range(2):
        own = reduced.generate(**alone(given, row), **beams)
        assert torch.equal(own[:, -4:], both[2 * row : 2 * row + 2, -4:])


@every_model
def test_beams_of_one_are_greedy_answers(name: str) -> None:
    """The best of many beams is scored as its own forward passes score it."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, "visionzip", retain=0.4)
    found = reduced.generate(
        **given, max_new_tokens=3, num_beams=4, do_sample=False, return_dict_in_generate=True, output_scores=True
    )
    for row in range(2):
        own = alone(given, row)
        grown = torch.cat([own["input_ids"], found.sequences[row : row + 1, -3:]], dim=1)
        longer = {**own, "input_ids": grown, "attention_mask": torch.ones_like(grown)}
        if "mm_token_type_ids" in own:
            longer["mm_token_type_ids"] = torch.nn.functional.pad(own["mm_token_type_ids"], (0, 3))
        logits = reduced(**longer, use_cache=False).logits[0, -4:-1].log_softmax(dim=-1)
        score = logits.gather(1, grown[0, -3:, None]).sum() / 3
        torch.testing.assert_close(found.sequences_scores[row], score, atol=1e-4, rtol=0)


@every_model
def test_samples_follow_their_prompts(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.3)
    torch.manual_seed(0)
    many = reduced.generate(**given, max_new_tokens=4, do_sample=True, num_return_sequences=3)
    assert many.shape == (6, given["input_ids"].shape[1] + 4)
    assert torch.equal(many[:, :-4], given["input_ids"].repeat_interleave(3, dim=0))


@every_model
@pytest.mark.parametrize(
    ("method", "settings"), [*REDUCTIONS[:2], REDUCTIONS[4]], ids=["visiondrop", "visionzip", "random"]
)
def test_without_a_cache_answers_are_the_same(name: str, method: str, settings: dict[str, Any]) -> None:
    """Of methods that never read the text: PyramidDrop would choose anew at every token."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, method, **settings)
    wanted = reduced.generate(**given, **GREEDY)
    got = reduced.generate(**given, **GREEDY, use_cache=False)
    assert torch.equal(got.sequences, wanted.sequences)
    for one, other in zip(got.logits, wanted.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@every_model
@pytest.mark.parametrize(("method", "settings"), REDUCTIONS[:2], ids=["visiondrop", "visionzip"])
def test_a_conversation_goes_on_with_its_cache(name: str, method: str, settings: dict[str, Any]) -> None:
    """The whole conversation is handed in, as `generate` wants it, and only what is new is computed."""
    model = MODELS[name]()
    given = inputs(model, ROWS)
    reduced = llava.hf.reduce(model, method, **settings)
    first = reduced.generate(**given, **GREEDY)
    more = torch.randint(3, 80, (2, 4), generator=torch.Generator().manual_seed(5))
    grown = torch.cat([first.sequences, more], dim=1)
    added = grown.shape[1] - given["input_ids"].shape[1]
    text = {
        "input_ids": grown,
        "attention_mask": torch.nn.functional.pad(given["attention_mask"], (0, added), value=1),
    }
    second = reduced.generate(**text, past_key_values=first.past_key_values, **GREEDY)
    whole = {**given, **text}
    if "mm_token_type_ids" in given:
        whole["mm_token_type_ids"] = torch.nn.functional.pad(given["mm_token_type_ids"], (0, added))
    wanted = reduced.generate(**whole, **GREEDY)
    assert torch.equal(second.sequences, wanted.sequences)
    for one, other in zip(second.logits, wanted.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@every_model
def test_prompts_of_several_pictures_and_of_none(name: str) -> None:
    model = MODELS[name]()
    given = inputs(model, [[0, 1], [], [2]])
    reduced = llava.hf.reduce(model, "visiondrop", retain=0.4)
    together = reduced.generate(**given, **GREEDY)
    last = inputs(model, [[], [], [2]])
    keep = last["attention_mask"][2].bool()
    own = {key: last[key][2, keep][None] for key in OF_TOKENS if key in last}
    own |= {key: last[key] for key in OF_PICTURES if key in last}
    single = reduced.generate(**own, **GREEDY)
    torch.testing.assert_close(single.logits[0][0], together.logits[0][2], atol=1e-5, rtol=0)
    text = {key: inputs(model, [[], []])[key][1:] for key in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model.generate(**text, **GREEDY).logits[0][0], together.logits[0][1], atol=1e-5, rtol=0)


def test_a_trace_says_what_each_stage_kept() -> None:
    model = MODELS["qwen2_5"]()
    trace = Trace()
    llava.hf.reduce(model, "visiondrop", retain=0.3).generate(**inputs(model, ROWS), trace=trace, max_new_tokens=2)
    assert [stage.layer for stage in trace.stages] == [1, 2, 4]
    assert [stage.selection.counts for stage in trace.stages] == [(7, 7), (5, 5), (4, 4)]
