"""Videos of OneVision: frames are views, each reduced by itself before the LLM."""

import copy
from typing import Any

import pytest
import torch
from as_transformers import as_transformers
from by_hand import decoder
from conftest import Load
from test_hf_generate import GREEDY
from tiles_by_hand import kept_of_view
from tiny_hf import VIDEO, inputs, onevision

import llava.hf
from llava.errors import InputError
from llava.mm_utils import tokenizer_image_token

FRAMES, POOLED = 3, 9
METHODS = [("visionzip", {"dominant": 5, "contextual": 2}), ("fastervlm", {"retain": 0.4}), ("none", {})]
every_method = pytest.mark.parametrize(("method", "settings"), METHODS, ids=[method for method, _ in METHODS])


def video_prompts(rows: int) -> dict[str, torch.Tensor]:
    """Prompts padded on the left with a video each, whose placeholders are those of pooled frames and a newline."""
    pixels = torch.randn(rows, FRAMES, 3, 84, 84, generator=torch.Generator().manual_seed(3))
    prompts = [[5 + row] * (2 + row) + [VIDEO] * (FRAMES * POOLED + 1) + [30, 31, 32 + row] for row in range(rows)]
    width = max(map(len, prompts))
    table = torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return {"input_ids": table, "attention_mask": mask, "pixel_values_videos": pixels}


def alone(given: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    keep = given["attention_mask"][row].bool()
    made = {name: given[name][row, keep][None] for name in ("input_ids", "attention_mask")}
    return {**made, "pixel_values_videos": given["pixel_values_videos"][row : row + 1]}


@every_method
def test_a_row_of_a_batch_is_answered_as_alone_and_as_shared(method: str, settings: dict[str, Any]) -> None:
    model, given = onevision(), video_prompts(2)
    reduced = llava.hf.reduce(model, method, **settings)
    both = reduced.generate(**given, **GREEDY)
    prefixes = reduced.encode_images([alone(given, row) for row in range(2)])
    shared = reduced.ask(prefixes, [[30, 31, 32], [30, 31, 33]], **GREEDY)
    beams = {"max_new_tokens": 3, "num_beams": 2, "do_sample": False}
    searched = reduced.generate(**given, **beams)
    for row in range(2):
        own = reduced.generate(**alone(given, row), **GREEDY)
        assert torch.equal(reduced.generate(**alone(given, row), **beams)[0, -3:], searched[row, -3:])
        for one, other, third in zip(own.logits, both.logits, shared.logits, strict=True):
            torch.testing.assert_close(one[0], other[row], atol=1e-5, rtol=0)
            torch.testing.assert_close(one[0], third[row], atol=1e-5, rtol=0)
    if method == "none":
        assert torch.equal(model.generate(**given, **GREEDY).logits[0], both.logits[0])
    else:
        assert both.past_key_values.layers[0].get_seq_length() < given["input_ids"].shape[1]


@torch.no_grad()
def test_visionzip_by_hand() -> None:
    model, given = onevision(), video_prompts(2)
    got = llava.hf.reduce(model, "visionzip", dominant=5, contextual=2)(**given).logits[:, -1]
    for row in range(2):
        ids = alone(given, row)["input_ids"][0]
        kept = []
        for frame in given["pixel_values_videos"][row]:
            _, _, best, folded = kept_of_view(model, frame, 5, 2)
            kept += [*best, *folded]
        tokens = model.model.multi_modal_projector(torch.stack(kept))
        places, table = (ids == VIDEO).nonzero().flatten().tolist(), model.get_input_embeddings()
        embeds = torch.cat([table(ids[: places[0]]), tokens, table(ids[places[-1] + 1 :])])
        torch.testing.assert_close(got[row], decoder(model, embeds, 0, 0, None, {}, []), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "named",
    [{"method": "visionzip", "retain": 75}, {"method": "divprune", "retain": 12}, {"method": "random", "retain": 48}],
    ids=lambda named: named["method"],
)
@torch.inference_mode()
def test_both_layouts_answer_alike(named: dict[str, Any], load: Load) -> None:
    """Also in what a budget means for a video: an average of so many tokens for all of its frames."""
    loaded = load("families/ov-qwen")
    model = copy.deepcopy(loaded.model)
    model.config.mm_spatial_pool_mode = "bilinear"
    theirs, token = as_transformers(model)
    edge, side = model.get_vision_tower().image_size, model.get_vision_tower().num_patches_per_side
    frames = torch.randn(FRAMES, 3, edge, edge, generator=torch.Generator().manual_seed(1))
    ids = tokenizer_image_token("<image>\nWhat is it?", loaded.tokenizer, return_tensors="pt")
    seen = {"images": [frames], "modalities": ["video"], "reduction": named, "logits_to_keep": 4}
    wanted = model(ids[None], **seen).logits[0]
    spread = [[token + 1] * (FRAMES * (-(-side // 2)) ** 2 + 1) if at < 0 else [at] for at in ids.tolist()]
    given = {"input_ids": torch.tensor([sum(spread, [])]), "pixel_values_videos": frames[None]}
    got = llava.hf.reduce(theirs, **named)(**given, logits_to_keep=4).logits[0, :, : wanted.shape[1]]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["visiondrop", "pyramiddrop"])
def test_stages_inside_the_llm_are_refused(method: str) -> None:
    reduced = llava.hf.reduce(onevision(), method, retain=0.5)
    with pytest.raises(InputError, match="videos are reduced before the LLM alone: got (visiondrop|pyramiddrop)"):
        reduced(**video_prompts(1))


def test_a_picture_and_a_video_in_one_prompt() -> None:
    model = onevision()
    first, second = inputs(model, [[1]]), alone(video_prompts(1), 0)
    reduced = llava.hf.reduce(model, "visionzip", dominant=5, contextual=2)
    both = {name: torch.cat([first[name], second[name]], dim=1) for name in ("input_ids", "attention_mask")}
    for one in (first, second):
        both |= {name: one[name] for name in one if name not in both}
    made = reduced.generate(**both, **GREEDY)
    views = 5  # of 150 x 90 pixels: four tiles
    words = both["input_ids"].shape[1] - int(torch.isin(both["input_ids"], torch.tensor([90, VIDEO])).sum())
    assert made.past_key_values.layers[0].get_seq_length() == words + 7 * (views + FRAMES) + 4
