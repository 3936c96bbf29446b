"""What a method may want of an encoder: other layers, tokens merged within layers, a smaller picture, CLIP's text."""

import pytest
import torch
from conftest import PARITY, Load, sample
from safetensors.torch import load_file
from tower_models import EDGE, model_with, noise

from llava.model.multimodal_encoder.clip_text import clip_half_of
from llava.model.multimodal_encoder.wanted import Wanted, merging_layer, run_layers
from llava.model.trace import Trace
from llava.reduction import create
from llava.reduction.rules.grid import cell_means, cells, fitting_grid, middles
from llava.reduction.rules.tome import pairs_per_layer

NEAR = {"atol": 1e-5, "rtol": 0.0}


@torch.no_grad()
@pytest.mark.parametrize("wanted", [(0,), (3, 5), (23,)])
def test_states_of_other_layers_are_those_of_a_whole_run(load: Load, wanted: tuple[int, ...]) -> None:
    tower = load("llava-tiny").model.get_vision_tower()
    pixels = torch.randn(2, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    states = tower.vision_tower(pixels, output_hidden_states=True).hidden_states
    seen = tower.vision_tower(pixels, layers=tower.layers_to_run, wanted=Wanted(wanted))
    torch.testing.assert_close(seen.last_hidden_state, states[23], **NEAR)
    torch.testing.assert_close(seen.entering, states[22], **NEAR)
    assert sorted(seen.others) == list(wanted)
    for number in wanted:
        torch.testing.assert_close(seen.others[number], states[number], **NEAR)


@torch.no_grad()
def test_received_attention_counts_cls_as_a_query_and_layers_are_named_from_the_end(load: Load) -> None:
    tower = load("llava-tiny").model.get_vision_tower()
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    method = create("prumerge")
    evidence = tower.evidence(tower.see(pixels, method), pixels)
    rows = torch.cat([evidence.attention_from_cls(), evidence.attention_from_image()], dim=2)
    torch.testing.assert_close(evidence.received_from_all(), rows.mean(dim=(1, 2)), **NEAR)
    last, layer = evidence.layer(-1), tower.vision_tower.encoder.layers[23]
    query, keys = last.single_head()
    entering = layer.layer_norm1(evidence.tokens)
    torch.testing.assert_close(keys, layer.self_attn.k_proj(entering), **NEAR)
    torch.testing.assert_close(query, layer.self_attn.q_proj(entering[:, 0]), **NEAR)
    assert torch.equal(last.values, evidence.values)


@torch.no_grad()
def test_a_layer_that_merges_nothing_is_the_layer(load: Load) -> None:
    layer = load("llava-tiny").model.get_vision_tower().vision_tower.encoder.layers[4]
    hidden = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(0))
    into = torch.arange(1, 10).expand(2, -1)
    out, sizes, after = merging_layer(layer, hidden, torch.ones(2, 10), into, 0)
    torch.testing.assert_close(out, layer(hidden, attention_mask=None), **NEAR)
    assert torch.equal(after, into) and sizes.eq(1).all()


@torch.no_grad()
def test_a_token_that_stands_for_two_weighs_as_two(load: Load) -> None:
    layer = load("llava-tiny").model.get_vision_tower().vision_tower.encoder.layers[4]
    apart = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    apart[:, 5] = apart[:, 4]
    sizes = torch.tensor([[1.0, 1, 1, 1, 2]])
    one, _, _ = merging_layer(layer, apart[:, :5], sizes, torch.arange(1, 5)[None], 0)
    torch.testing.assert_close(one, layer(apart, attention_mask=None)[:, :5], **NEAR)


@torch.no_grad()
def test_merged_tokens_are_means_of_what_went_into_them(load: Load) -> None:
    layers = load("llava-tiny").model.get_vision_tower().vision_tower.encoder.layers
    hidden = torch.randn(2, 17, 32, generator=torch.Generator().manual_seed(0))
    seen = run_layers(layers, hidden, 3, Wanted(pairs=(3, 4, 2)), first=1)
    assert seen.leaving.shape == (2, 8, 32) and seen.into is not None and seen.into.shape == (2, 16)
    for row in seen.into.tolist():
        assert set(row) == set(range(7))


def test_pairs_come_to_the_wanted_number() -> None:
    assert pairs_per_layer(576, 576, 23) == (0,) * 23
    for wanted in (1, 2, 32, 64, 192, 575):
        plan = pairs_per_layer(576, wanted, 23)
        left = 576
        for pairs in plan:
            assert 0 <= pairs <= left // 2
            left -= pairs
        assert left == wanted and len(plan) == 23
    assert sum(pairs_per_layer(16, 1, 2)) == 12  # two halvings


@torch.no_grad()
def test_tome_and_downsample_that_leave_everything_are_the_plain_encoder() -> None:
    model = model_with("clip")
    pixels, side = noise(model, 2), EDGE // 4
    plain = model.encode_images(pixels)
    for method in (
        {"method": "tome", "visual_token_num": side**2},
        {"method": "downsample", "rows": side, "cols": side},
    ):
        model.reduction = method
        torch.testing.assert_close(model.encode_images(pixels), plain, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_smaller_picture_is_seen_by_the_same_encoder(load: Load) -> None:
    loaded = load("llava-tiny", "downsample", rows=6, cols=4)
    asked = sample(loaded, "What is it?", "0.png")
    trace = Trace()
    loaded.model(asked.input_ids, images=asked.images, image_sizes=asked.image_sizes, trace=trace)
    assert trace.encoder is not None and trace.encoder.counts == (24,)
    pixels = torch.nn.functional.interpolate(asked.images[0][None], (84, 56), mode="bilinear", antialias=True)
    tower = loaded.model.get_vision_tower()
    output = tower.vision_tower(pixels, output_hidden_states=True, interpolate_pos_encoding=True)
    torch.testing.assert_close(trace.encoder.values, output.hidden_states[-2][:, 1:], **NEAR)


@torch.no_grad()
def test_other_half_of_clip_gives_the_recorded_embeddings(load: Load) -> None:
    half = clip_half_of(load("methods/llava-wide-clip").model.get_vision_tower())
    text = "What is written on the wall?\nReference OCR token: EXIT, 7, north, platform, please mind the gap, ticket "
    text += "office, 42, way out"
    wanted = load_file(PARITY / "methods/cdpruner-48-long-text.safetensors")
    short = "Is there a red square in the image?"
    embeds, pieces = half.text_embeds([short, text, short], True, torch.device("cpu"), torch.float32)
    assert pieces.tolist() == [[True, False], [True, True], [True, False]]
    torch.testing.assert_close(embeds[1], wanted["clip.text_embeds"], atol=1e-4, rtol=0)
    torch.testing.assert_close(embeds[0, 0], embeds[2, 0], atol=0, rtol=0)
    alone, _ = half.text_embeds([short], True, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(alone[0, 0], embeds[0, 0], **NEAR)
    cut, there = half.text_embeds([text], False, torch.device("cpu"), torch.float32)
    assert cut.shape[1] == 1 and there.all() and not torch.allclose(cut[0, 0], embeds[1, 0])


@pytest.mark.parametrize(
    ("count", "side", "grid"),
    [(64, 24, (8, 8)), (32, 24, (4, 8)), (192, 24, (12, 16)), (57, 24, (7, 8)), (14, 16, (2, 7)), (1, 24, (1, 1))],
)
def test_grids_of_budgets(count: int, side: int, grid: tuple[int, int]) -> None:
    assert fitting_grid(count, side) == grid
    assert fitting_grid(10**9, side) == (side, side)


def test_cells_cover_a_view_and_their_middles_are_theirs() -> None:
    cell = cells(3, 5, 8, torch.device("cpu"))
    assert cell.shape == (1, 64) and set(cell[0].tolist()) == set(range(15))
    middle = middles(3, 5, 8, torch.device("cpu"))[0]
    assert cell[0, middle].tolist() == list(range(15))
    values = torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(0))
    means = cell_means(values, cell, 15)
    for number in range(15):
        torch.testing.assert_close(means[:, number], values[:, cell[0] == number].mean(dim=1), **NEAR)
