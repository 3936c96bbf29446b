"""Videos of Qwen's models: each pair of frames is reduced as a picture, at its own time."""

import pytest
import torch
from by_hand import decoder
from encoders_by_hand import qwen_tokens
from test_hf_generate import GREEDY
from tiny_hf import MODELS, VIDEO, inputs, video_inputs

import llava.hf

QWEN = ["qwen2", "qwen2_5", "qwen3"]
every_qwen = pytest.mark.parametrize("name", QWEN)


def alone(given: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """One row without its padding."""
    keep, grids = given["attention_mask"][row].bool(), given["video_grid_thw"]
    made = {key: given[key][row, keep][None] for key in ("input_ids", "attention_mask", "mm_token_type_ids")}
    pixels = given["pixel_values_videos"].split(grids.prod(dim=1).tolist())[row]
    return {**made, "pixel_values_videos": pixels, "video_grid_thw": grids[row : row + 1]}


@every_qwen
def test_everything_kept_is_the_original(name: str) -> None:
    model = MODELS[name]()
    given = video_inputs(model, [0, 3])
    wanted = model.generate(**given, **GREEDY)
    for method, settings in (
        ("fastervlm", {"visual_token_num": 24}),
        ("fastv", {"fast_v_agg_layer": 2, "fast_v_attention_rank": 4000}),
    ):
        got = llava.hf.reduce(model, method, **settings).generate(**given, **GREEDY)
        assert all(torch.equal(one, other) for one, other in zip(got.logits, wanted.logits, strict=True))


@every_qwen
@pytest.mark.parametrize("method", ["visiondrop", "visionzip", "pyramiddrop"])
def test_a_row_of_a_batch_is_answered_as_alone(name: str, method: str) -> None:
    model = MODELS[name]()
    given = video_inputs(model, [0, 3])
    reduced = llava.hf.reduce(model, method, retain=0.5)
    both = reduced.generate(**given, **GREEDY)
    assert both.past_key_values.layers[-1].get_seq_length() < given["input_ids"].shape[1]
    for row in range(2):
        own = reduced.generate(**alone(given, row), **GREEDY)
        for one, other in zip(own.logits, both.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)


@every_qwen
@torch.no_grad()
def test_visionzip_by_hand(name: str) -> None:
    """Each pair of frames chosen by itself; times, rows and columns stay."""
    model = MODELS[name]()
    given = video_inputs(model, [0])
    _, high, wide = given["video_grid_thw"][0].tolist()
    ids, table = given["input_ids"][0], model.get_input_embeddings()
    named = {key: given[key] for key in ("mm_token_type_ids", "video_grid_thw")}
    whole = model.model.get_rope_index(given["input_ids"], **named)[0][:, 0].T
    places = (ids == VIDEO).nonzero().flatten().split(high * wide // 4)
    embeds, positions, deep, at = [], [], [], 0
    for pixels, columns in zip(given["pixel_values_videos"].split(high * wide), places):
        tokens, sources, added = qwen_tokens(model, pixels, torch.tensor([1, high, wide]), 9, 3)
        text = torch.arange(at, int(columns[0]))
        embeds += [table(ids[text]), tokens]
        positions += [whole[text], whole[columns[sources]]]
        deep.append([torch.cat([torch.zeros(len(text), one.shape[1]), one]) for one in added])
        at = int(columns[-1]) + 1
    rest = ids[at:]
    embeds, positions = [*embeds, table(rest)], [*positions, whole[at:]]
    layers = [torch.cat([*parts, torch.zeros(len(rest), parts[0].shape[1])]) for parts in zip(*deep)]
    wanted = decoder(model, torch.cat(embeds), 0, 0, torch.cat(positions), {}, layers)
    got = llava.hf.reduce(model, "visionzip", dominant=9, contextual=3)(**given).logits[0, -1]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


@every_qwen
def test_a_picture_and_a_video_in_one_prompt(name: str) -> None:
    """In either order, as each is alone in what is kept of it."""
    model = MODELS[name]()
    first, second = inputs(model, [[1]]), video_inputs(model, [3])
    reduced = llava.hf.reduce(model, "visionzip", dominant=6, contextual=2)
    for pair in ((first, second), (second, first)):
        given = {
            key: torch.cat([one[key] for one in pair], dim=1)
            for key in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        for one in pair:
            given |= {key: one[key] for key in one if key not in given}
        wanted = model.generate(**given, **GREEDY)
        whole = llava.hf.reduce(model, "fastervlm", visual_token_num=24).generate(**given, **GREEDY)
        assert all(torch.equal(one, other) for one, other in zip(whole.logits, wanted.logits, strict=True))
        made = reduced.generate(**given, **GREEDY)
        assert made.past_key_values.layers[0].get_seq_length() == given["input_ids"].shape[1] - 24 - 2 * 15 + 3 * 8 + 4
