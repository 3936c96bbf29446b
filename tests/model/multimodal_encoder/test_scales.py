"""CLIP at several scales: against squares that are cut, seen and put together one by one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate
from tower_models import EDGE, SIDE, llava_keys, model_with
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava.errors import InputError
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTowerS2
from llava.model.multimodal_encoder.scales import feature_width, scales_of, view_size
from llava.reduction import create

NEAR = {"atol": 1e-5, "rtol": 0.0}
VISION = CLIPVisionConfig(image_size=EDGE, patch_size=4, hidden_size=16, num_attention_heads=2)


@pytest.fixture
def tower() -> CLIPVisionTowerS2:
    made = model_with("s2").get_vision_tower()
    assert type(made) is CLIPVisionTowerS2
    return made


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 3 * EDGE, 3 * EDGE, generator=torch.Generator().manual_seed(1))


def by_hand(tower: CLIPVisionTowerS2, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """(n, 3 D) patches and (3 D,) [CLS] of one view, square by square, and the smallest scale's host output."""
    model = CLIPVisionModel(tower.config).eval()
    model.load_state_dict(tower.vision_tower.state_dict())
    model.set_attn_implementation("eager")
    patches, summaries, first = [], [], None
    for across in (1, 2, 3):
        resized = interpolate(view[None], size=(across * EDGE, across * EDGE), mode="bicubic")
        picture, own = torch.zeros(across * SIDE, across * SIDE, 16), []
        for row in range(across):
            for column in range(across):
                square = resized[:, :, row * EDGE : (row + 1) * EDGE, column * EDGE : (column + 1) * EDGE]
                seen = model(square, output_hidden_states=True, output_attentions=True)
                first, states = first or seen, seen.hidden_states[-2][0]
                own.append(states[0])
                for patch in range(SIDE * SIDE):
                    place = row * SIDE + patch // SIDE, column * SIDE + patch % SIDE
                    picture[place] = states[1 + patch]
        summaries.append(torch.stack(own).mean(dim=0))
        cells = picture.view(SIDE, across, SIDE, across, 16).mean(dim=(1, 3))
        patches.append(cells.reshape(SIDE * SIDE, 16))
    return torch.cat(patches, dim=-1), torch.cat(summaries), first


@torch.no_grad()
def test_features_are_those_of_every_square_put_together(tower: CLIPVisionTowerS2, pixels: torch.Tensor) -> None:
    assert (tower.image_size, tower.hidden_size, tower.num_patches, tower.passes) == (96, 48, 64, 14)
    features = tower(pixels)
    assert features.shape == (2, 64, 48)
    for view, own in zip(pixels, features):
        torch.testing.assert_close(own, by_hand(tower, view)[0], **NEAR)


@torch.no_grad()
def test_a_method_ranks_by_the_smallest_scale_and_keeps_all(tower: CLIPVisionTowerS2, pixels: torch.Tensor) -> None:
    encoded = tower.encode(pixels, create("visionzip", dominant=7, contextual=3))
    assert encoded.selection is not None and encoded.features.shape == (2, 10, 48)
    for number, view in enumerate(pixels):
        patches, summary, first = by_hand(tower, view)
        scores = first.attentions[2][0, :, 0, 1:].sum(dim=0)
        kept = scores.topk(6).indices.sort().values
        assert torch.equal(encoded.selection.kept[number], kept)
        torch.testing.assert_close(encoded.features[number, :7], torch.cat([summary[None], patches[kept]]), **NEAR)
        layer = tower.vision_tower.encoder.layers[2]
        keys = layer.self_attn.k_proj(layer.layer_norm1(first.hidden_states[2]))[0, 1:].view(64, 2, 8).mean(dim=1)
        left = [patch for patch in range(64) if patch not in kept.tolist()]
        targets = left[:: len(left) // 3][:3]
        for slot, target in enumerate(targets):
            like = torch.stack([torch.cosine_similarity(keys, keys[other], dim=-1) for other in targets])
            joined = [patch for patch in left if patch not in targets and int(like[:, patch].argmax()) == slot]
            wanted = patches[target] + patches[joined].mean(dim=0)
            torch.testing.assert_close(encoded.features[number, 7 + slot], wanted, **NEAR)


@torch.no_grad()
def test_evidence_is_the_smallest_scales_own(tower: CLIPVisionTowerS2, pixels: torch.Tensor) -> None:
    evidence = tower.evidence(tower.see(pixels), pixels)
    inside = [by_hand(tower, view)[2] for view in pixels]
    rows = torch.cat([one.attentions[2] for one in inside])
    torch.testing.assert_close(evidence.attention_from_cls(), rows[:, :, :1, 1:], **NEAR)
    torch.testing.assert_close(evidence.attention_from_image(), rows[:, :, 1:, 1:], **NEAR)
    torch.testing.assert_close(tower.entering_last(pixels), torch.cat([one.hidden_states[2] for one in inside]), **NEAR)
    assert evidence.pixels is pixels and evidence.values.shape == (2, 64, 48)


@torch.no_grad()
def test_precision_is_the_weights_and_features_come_in_the_pixels(tower: CLIPVisionTowerS2) -> None:
    pixels = torch.randn(1, 3, 96, 96)
    tower.bfloat16()
    assert tower.encode(pixels).features.dtype == torch.bfloat16 and tower(pixels).dtype == torch.float32


def test_scales_are_sorted_and_have_a_default() -> None:
    named = SimpleNamespace(s2=True, s2_scales="96, 32,64")
    assert scales_of(named, VISION) == (32, 64, 96)
    assert (view_size(named, VISION), feature_width(named, VISION)) == (96, 48)
    published = CLIPVisionConfig(image_size=336)
    assert scales_of(SimpleNamespace(s2=True), published) == (336, 672, 1008)
    for off in (SimpleNamespace(), SimpleNamespace(s2=False, s2_scales="5")):
        assert (scales_of(off, VISION), view_size(off, VISION), feature_width(off, VISION)) == ((), 32, 16)


UNUSABLE = ("336,672", "32,48", "64,128", "32,32", "32,", "", "32;64", "32,-64", "32,1e2", "32,6400", "32," + "9" * 99)


@pytest.mark.parametrize("scales", UNUSABLE)
def test_scales_that_cannot_be(scales: str) -> None:
    with pytest.raises(InputError, match=r"s2_scales must name the vision tower's own size .* like 32,64,96; mend"):
        scales_of(SimpleNamespace(s2=True, s2_scales=scales), VISION)


def test_what_several_scales_do_not_take(tower: CLIPVisionTowerS2) -> None:
    keys = SimpleNamespace(**llava_keys("s2"), mm_vision_select_feature="cls_patch")
    with pytest.raises(InputError, match=r"\[CLS\] has no place: got mm_vision_select_feature 'cls_patch'"):
        build_vision_tower(keys, delay_load=True)
    with pytest.raises(InputError, match="got 32 x 32 pixels, expected 96 x 96"):
        tower.encode(torch.zeros(1, 3, 32, 32))
