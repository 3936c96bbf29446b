"""SigLIP: transformers' hidden states without the last layer and head; no [CLS], patches ranked by what they get."""

from types import SimpleNamespace

import pytest
import torch
from tower_models import EDGE, vision_config
from transformers import SiglipVisionConfig, SiglipVisionModel

from llava.errors import InputError
from llava.model.evidence import clip
from llava.model.multimodal_encoder.builder import build_vision_tower
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.model.multimodal_encoder.weights import used
from llava.reduction import create

NEAR = {"atol": 1e-5, "rtol": 0.0}


def host(attention: str = "sdpa") -> SiglipVisionModel:
    """transformers' whole SigLIP of 4 layers."""
    torch.manual_seed(0)
    settings = {key: value for key, value in vision_config("siglip").items() if key != "model_type"}
    model = SiglipVisionModel(SiglipVisionConfig(**settings)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    model.set_attn_implementation(attention)
    return model


def tower_of(model: SiglipVisionModel, **keys: object) -> SigLipVisionTower:
    """Ours with the same weights."""
    settings = SimpleNamespace(mm_vision_tower="siglip", mm_vision_config=vision_config("siglip"), **keys)
    tower = build_vision_tower(settings, delay_load=True)
    assert type(tower) is SigLipVisionTower
    tower.vision_tower.load_state_dict(used(model.state_dict(), model.config))
    return tower.eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, EDGE, EDGE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize(
    "keys", [{}, {"mm_vision_select_layer": -1}, {"mm_vision_select_feature": "cls_patch"}], ids=str
)
def test_features_leave_the_last_layer_but_one_whatever_is_selected(pixels: torch.Tensor, keys: dict) -> None:
    model = host()
    tower = tower_of(model, **keys)
    states = model(pixels, output_hidden_states=True).hidden_states
    assert torch.equal(tower(pixels), states[-2]) and len(states) == 5
    assert (tower.layers_to_run, tower.num_patches, tower.select_feature) == (3, 64, "patch")
    assert torch.equal(tower.entering_last(pixels), states[-3])
    alone = torch.cat(tower(list(pixels)))
    torch.testing.assert_close(alone, states[-2], **NEAR)


def test_neither_last_layer_nor_head_is_there() -> None:
    tower = tower_of(host())
    names = list(tower.vision_tower.state_dict())
    assert any(".layers.2." in name for name in names)
    assert not any(".layers.3." in name or "head" in name for name in names)
    assert tower.config.num_hidden_layers == 4  # so that a configuration which is saved is cut once


@torch.no_grad()
@pytest.mark.parametrize("at_once", [1, 2**26])
def test_evidence_is_what_is_inside_the_layer(
    pixels: torch.Tensor, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip, "MOST_ENTRIES", at_once)
    model = host("eager")
    tower, inside = tower_of(model), model(pixels, output_hidden_states=True, output_attentions=True)
    evidence = tower.evidence(tower.see(pixels), pixels)
    assert not evidence.has_cls and evidence.lengths == (64, 64, 64)
    rows = inside.attentions[2]
    torch.testing.assert_close(evidence.attention_from_image(), rows, **NEAR)
    torch.testing.assert_close(evidence.attention_received(), rows.mean(dim=(1, 2)), **NEAR)
    layer = model.encoder.layers[2]
    keys = layer.self_attn.k_proj(layer.layer_norm1(inside.hidden_states[2])).view(3, 64, 2, 8).mean(dim=2)
    torch.testing.assert_close(evidence.keys(), keys, **NEAR)
    torch.testing.assert_close(evidence.values, inside.hidden_states[3], **NEAR)
    for refused in (evidence.attention_from_cls, evidence.attention_from_last, lambda: evidence.cls_token):
        with pytest.raises(NotImplementedError):
            refused()


@torch.no_grad()
def test_dominant_and_contextual_patches_by_hand(pixels: torch.Tensor) -> None:
    model = host("eager")
    inside = model(pixels, output_hidden_states=True, output_attentions=True)
    encoded = tower_of(model).encode(pixels, create("visionzip", dominant=9, contextual=4))
    layer = model.encoder.layers[2]
    keys = layer.self_attn.k_proj(layer.layer_norm1(inside.hidden_states[2])).view(3, 64, 2, 8).mean(dim=2)
    assert encoded.selection is not None and not encoded.selection.keeps_cls
    for view in range(3):
        values = inside.hidden_states[3][view]
        received = inside.attentions[2][view].mean(dim=0).mean(dim=0)
        kept = sorted(received.argsort(descending=True)[:9].tolist())
        left = [patch for patch in range(64) if patch not in kept]
        targets = left[:: len(left) // 4][:4]
        members: dict[int, list[int]] = {target: [] for target in targets}
        for patch in left:
            if patch not in targets:
                like = [torch.cosine_similarity(keys[view, patch], keys[view, target], dim=0) for target in targets]
                members[targets[int(torch.stack(like).argmax())]].append(patch)
        merged = [values[target] + (values[joined].mean(dim=0) if joined else 0) for target, joined in members.items()]
        torch.testing.assert_close(encoded.features[view], torch.cat([values[kept], torch.stack(merged)]), **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("name", ["fastervlm", "vispruner"])
def test_methods_that_rank_by_cls_rank_by_what_patches_receive(pixels: torch.Tensor, name: str) -> None:
    inside = host("eager")(pixels, output_attentions=True).attentions[2]
    method = create(name, visual_token_num=6, **{"important_ratio": 1.0} if name == "vispruner" else {})
    encoded = tower_of(host()).encode(pixels, method)
    best = inside.mean(dim=(1, 2)).topk(6).indices.sort().values
    assert encoded.selection is not None and torch.equal(encoded.selection.kept, best)


def test_what_cannot_be_a_siglip_tower() -> None:
    one = vision_config("siglip") | {"num_hidden_layers": 1}
    with pytest.raises(InputError, match="last layer is cut off: got num_hidden_layers 1, expected 2 or more"):
        build_vision_tower(SimpleNamespace(mm_vision_tower="siglip", mm_vision_config=one), delay_load=True)
    settings = SimpleNamespace(mm_vision_config=vision_config("siglip"))
    with pytest.raises(InputError, match="CLIPVisionTower needs an encoder of its kind: got model_type siglip"):
        CLIPVisionTower("siglip", settings, delay_load=True)
    scaled = SimpleNamespace(mm_vision_tower="siglip", mm_vision_config=vision_config("siglip"), s2=True)
    with pytest.raises(InputError, match="several scales are CLIP's: got s2 true with a SigLIP tower"):
        build_vision_tower(scaled, delay_load=True)
