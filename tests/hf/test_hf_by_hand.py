"""VisionZip and VisionDrop on transformers' classes against the plain computation of `by_hand`."""

from typing import Any

import pytest
import torch
from by_hand import decoder
from encoders_by_hand import intern_tokens, llava_tokens, qwen_tokens
from tiny_hf import BY_HAND, GRIDS, PICTURE, inputs, internvl

import llava.hf

LAYERS, PAIRS = [1, 3], [(6, 2), (3, 1)]


def expected(model: Any, given: dict[str, torch.Tensor], first: tuple[int, int], stages: bool) -> torch.Tensor:
    """Logits of the last token of one prompt with one picture."""
    ids = given["input_ids"][0]
    places = (ids == PICTURE).nonzero().flatten().tolist()
    start, positions = places[0], None
    if "image_grid_thw" in given:
        tokens, sources, deep = qwen_tokens(model, given["pixel_values"], given["image_grid_thw"][0], *first)
        named = {name: given[name] for name in ("mm_token_type_ids", "image_grid_thw")}
        whole = model.model.get_rope_index(given["input_ids"], **named)[0][:, 0].T
        positions = torch.cat([whole[:start], whole[start:][sources], whole[places[-1] + 1 :]])
    elif hasattr(model.config, "downsample_ratio"):
        tokens, sources, deep = intern_tokens(model, given["pixel_values"], *first)
    else:
        tokens, sources, deep = llava_tokens(model, given["pixel_values"][0], *first)
    table = model.get_input_embeddings()
    before, after = table(ids[:start]), table(ids[places[-1] + 1 :])
    embeds = torch.cat([before, tokens, after])
    wide = [torch.cat([torch.zeros_like(before), one, torch.zeros_like(after)]) for one in deep]
    schedule = dict(zip(LAYERS, PAIRS)) if stages else {}
    return decoder(model, embeds, start, len(tokens), positions, schedule, wide)


@pytest.mark.parametrize("name", BY_HAND)
@torch.no_grad()
def test_visionzip(name: str) -> None:
    model = BY_HAND[name]()
    reduced = llava.hf.reduce(model, "visionzip", dominant=9, contextual=3)
    for picture in (0, 1):
        given = inputs(model, [[picture]], seed=picture)
        wanted = expected(model, given, (9, 3), stages=False)
        torch.testing.assert_close(reduced(**given).logits[0, -1], wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BY_HAND)
@torch.no_grad()
def test_visiondrop(name: str) -> None:
    """With stages before and after the last of deepstack's layers."""
    model = BY_HAND[name]()
    schedule = {"layer_list": LAYERS, "image_token_list": [list(pair) for pair in PAIRS]}
    reduced = llava.hf.reduce(model, "visiondrop", dominant=9, contextual=3, **schedule)
    for picture in (0, 3):
        given = inputs(model, [[picture]], seed=picture)
        wanted = expected(model, given, (9, 3), stages=True)
        torch.testing.assert_close(reduced(**given).logits[0, -1], wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_internvl_over_qwen3() -> None:
    """Whose queries and keys pass a norm of their own before they are rotated."""
    model = internvl(head_dim=8)
    schedule = {"layer_list": LAYERS, "image_token_list": [list(pair) for pair in PAIRS]}
    reduced = llava.hf.reduce(model, "visiondrop", dominant=9, contextual=3, **schedule)
    given = inputs(model, [[1]])
    torch.testing.assert_close(reduced(**given).logits[0, -1], expected(model, given, (9, 3), True), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["qwen2", "qwen2_5", "qwen3"])
@torch.no_grad()
def test_a_share_is_of_each_pictures_own_tokens(name: str) -> None:
    """VisionZip's proportion of 54 to 10, of half of 24 and of 15 tokens; both beside each other as alone."""
    model = BY_HAND[name]()
    reduced = llava.hf.reduce(model, "visionzip", retain=0.5)
    both = reduced(**inputs(model, [[0], [3]])).logits[:, -1]
    for row, (picture, counts) in enumerate(((0, (10, 2)), (3, (7, 1)))):
        assert GRIDS[picture][0] * GRIDS[picture][1] // 4 == (24, 15)[row]
        given = inputs(model, [[picture]], seed=1 + row)
        given["input_ids"] = inputs(model, [[0], [3]])["input_ids"][row, -given["input_ids"].shape[1] - 2 * row :]
        own = inputs(model, [[0], [3]])
        keep = own["attention_mask"][row].bool()
        given |= {key: own[key][row, keep][None] for key in ("input_ids", "attention_mask", "mm_token_type_ids")}
        torch.testing.assert_close(both[row], expected(model, given, counts, stages=False), atol=1e-5, rtol=0)
