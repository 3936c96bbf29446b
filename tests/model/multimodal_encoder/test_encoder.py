"""CLIP: bit-equal to transformers' up to the layer that is selected, nothing after it, and rows of its attention."""

import copy
from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava.errors import InputError
from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.llama import LlamaEvidence
from llava.model.layout import Layout, Span
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.reduction import create
from llava.reduction.scoring import mean_received

CONFIG = CLIPVisionConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, image_size=56, patch_size=14
)


def built(select_layer: int = -2, select_feature: str = "patch") -> CLIPVisionTower:
    """A tower with random weights."""
    keys = {"mm_vision_select_layer": select_layer, "mm_vision_select_feature": select_feature}
    return CLIPVisionTower("random", SimpleNamespace(mm_vision_config=CONFIG.to_diff_dict(), **keys), delay_load=True)


@pytest.fixture
def tower() -> CLIPVisionTower:
    torch.manual_seed(0)
    return built().eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(1))


def host(tower: CLIPVisionTower, attention: str) -> CLIPVisionModel:
    """transformers' CLIP with the same weights."""
    model = CLIPVisionModel(copy.deepcopy(CONFIG)).eval()
    model.load_state_dict(tower.vision_tower.state_dict())
    model.set_attn_implementation(attention)
    return model


@torch.no_grad()
@pytest.mark.parametrize("select_layer", [-2, -1, -4, 2])
def test_features_are_bit_equal_to_transformers(
    tower: CLIPVisionTower, pixels: torch.Tensor, select_layer: int
) -> None:
    chosen = built(select_layer, "cls_patch").eval()
    chosen.load_state_dict(tower.state_dict())
    states = host(tower, "sdpa")(pixels, output_hidden_states=True).hidden_states
    assert torch.equal(chosen.encode(pixels).features, states[select_layer])


@torch.no_grad()
def test_patches_come_without_cls_and_lists_one_by_one(tower: CLIPVisionTower, pixels: torch.Tensor) -> None:
    assert tower.num_patches == 16 and tower.num_patches_per_side == 4
    together = tower(pixels)
    assert together.shape == (3, 16, 32)
    for alone, row in zip(tower(list(pixels)), together):
        torch.testing.assert_close(alone[0], row, atol=1e-5, rtol=0)


@torch.no_grad()
def test_layers_after_the_selected_one_never_run(tower: CLIPVisionTower, pixels: torch.Tensor) -> None:
    before = tower.encode(pixels).features
    for weight in tower.vision_tower.encoder.layers[-1].parameters():
        weight.fill_(torch.nan)
    tower.vision_tower.post_layernorm.weight.fill_(torch.nan)
    assert torch.equal(tower.encode(pixels).features, before)


@torch.no_grad()
def test_rows_and_keys_are_those_inside_the_layer(tower: CLIPVisionTower, pixels: torch.Tensor) -> None:
    eager = host(tower, "eager")(pixels, output_hidden_states=True, output_attentions=True)
    layer = tower.vision_tower.encoder.layers[2]
    evidence = ClipEvidence(layer, eager.hidden_states[2], eager.hidden_states[3], pixels)
    inside = eager.attentions[2]
    torch.testing.assert_close(evidence.attention_from_cls(), inside[:, :, :1, 1:], atol=1e-6, rtol=0)
    torch.testing.assert_close(evidence.attention_from_image(), inside[:, :, 1:, 1:], atol=1e-6, rtol=0)
    keys = layer.self_attn.k_proj(layer.layer_norm1(eager.hidden_states[2])).view(3, 17, 4, 8)[:, 1:].mean(2)
    torch.testing.assert_close(evidence.keys(), keys, atol=1e-6, rtol=0)
    with pytest.raises(NotImplementedError):
        evidence.attention_from_last()


@torch.no_grad()
def test_reduced_features_are_cls_dominant_contextual(tower: CLIPVisionTower, pixels: torch.Tensor) -> None:
    encoded = tower.encode(pixels, create("visionzip", dominant=6, contextual=3))
    states = host(tower, "sdpa")(pixels, output_hidden_states=True).hidden_states[-2]
    chosen = encoded.selection
    assert chosen is not None and chosen.merged is not None and encoded.features.shape == (3, 9, 32)
    for row in range(3):
        assert torch.equal(encoded.features[row, 0], states[row, 0])
        assert torch.equal(encoded.features[row, 1:6], states[row, 1:][chosen.kept[row]])
        assert torch.equal(encoded.features[row, 6:], chosen.merged.values[row])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ((-6, "patch"), "mm_vision_select_layer must name a layer's output: got -6, expected -4 to -1 or 1 to 4"),
        ((5, "patch"), "mm_vision_select_layer"),
        ((0, "patch"), "mm_vision_select_layer"),
        ((-2, "tokens"), "mm_vision_select_feature must be known: got 'tokens', expected patch or cls_patch"),
    ],
)
def test_what_cannot_be_selected_is_refused(settings: tuple[int, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        built(*settings)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["llama", "grouped"])
@pytest.mark.parametrize("padded", [False, True])
def test_rows_of_the_decoder_are_those_of_eager_attention(kind: str, padded: bool) -> None:
    from transformers import LlamaConfig, LlamaModel

    groups = 4 if kind == "llama" else 2
    torch.manual_seed(2)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=groups,
        vocab_size=50,
        attn_implementation="eager",
    )
    model = LlamaModel(config).eval()
    lengths = (14, 11) if padded else (14, 14)
    layout = Layout(lengths, (Span(0, 3, 6, 6), Span(1, 2 if padded else 3, 5 if padded else 6, 6)))
    embeds = torch.randn(2, 14, 32)
    mask = torch.stack([(torch.arange(14) >= 14 - length).long() for length in lengths])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        inputs_embeds=embeds,
        attention_mask=mask,
        position_ids=positions,
        output_attentions=True,
        output_hidden_states=True,
    )
    rotary = model.rotary_emb(embeds, position_ids=positions)
    evidence = LlamaEvidence(model.layers[1], out.hidden_states[1], layout, rotary)
    inside, received = out.attentions[1], evidence.attention_from_image()
    scores = mean_received(received, evidence.valid.sum(dim=1, keepdim=True))
    for number, span in enumerate(layout.spans):
        first = 14 - lengths[span.row] + span.start
        image = slice(first, first + span.length)
        rows = inside[span.row, :, image, image]
        torch.testing.assert_close(received[number, :, : span.length, : span.length], rows, atol=1e-6, rtol=0)
        last = evidence.attention_from_last()[number, :, 0, : span.length]
        torch.testing.assert_close(last, inside[span.row, :, -1, image], atol=1e-6, rtol=0)
        torch.testing.assert_close(scores[number, : span.length], rows.mean(0).mean(0), atol=1e-6, rtol=0)
        assert torch.equal(evidence.values[number, : span.length], out.hidden_states[1][span.row, image])
