"""Where a tower's weights come from: inside the checkpoint where they are there, else beside; and saved again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from checkpoints import NESTED, TINY, answer, copied, load, plain_base, store, tensors
from conftest import PARITY
from safetensors.torch import load_file
from transformers import SiglipVisionModel

from llava.errors import InputError
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.multimodal_encoder.builder import build_image_processor, locate_tower
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower

FAMILIES = PARITY / "families"
SIGLIP = FAMILIES / "ov-qwen/siglip_tower"
NOT_USED = ("encoder.layers.4.", "head.")


def siglip_checkpoint(folder: Path, **changes: object) -> Path:
    """A LLaMA with SigLIP's folder beside."""
    copied(folder, TINY, mm_vision_tower="siglip_tower", **changes)
    shutil.copytree(SIGLIP, folder / "siglip_tower")
    return folder


def inside(seed: int) -> dict[str, torch.Tensor]:
    """A whole SigLIP's tensors, last layer and head too, under a checkpoint's names, other than those beside."""
    torch.manual_seed(seed)
    beside = {name.removeprefix("vision_model."): own for name, own in load_file(SIGLIP / "model.safetensors").items()}
    return {NESTED + name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in beside.items()}


def cut(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As published: without the last layer and the head."""
    return {name: own for name, own in weights.items() if not name.removeprefix(NESTED).startswith(NOT_USED)}


def features(loaded: object) -> torch.Tensor:
    """Of one picture of noise."""
    tower = loaded.model.get_vision_tower()  # type: ignore[attr-defined]
    assert type(tower) is SigLipVisionTower and tower.is_loaded
    with torch.no_grad():
        return tower(torch.randn(1, 3, 384, 384, generator=torch.Generator().manual_seed(2)))


def test_beside(tmp_path: Path) -> None:
    loaded = load(siglip_checkpoint(tmp_path / "llava", mm_vision_select_feature="cls_patch"))
    host = SiglipVisionModel.from_pretrained(SIGLIP, dtype=torch.float32).eval()
    with torch.no_grad():
        pixels = torch.randn(1, 3, 384, 384, generator=torch.Generator().manual_seed(2))
        states = host(pixels, output_hidden_states=True).hidden_states
    assert torch.equal(features(loaded), states[4])
    geometry = loaded.model.geometry
    assert (geometry.patches, geometry.most_tokens, geometry.has_cls) == (729, 729, False)
    assert loaded.model.config.mm_vision_select_feature == "patch"


@pytest.mark.parametrize("as_published", [True, False])
@pytest.mark.parametrize("keys", [{}, {"unfreeze_mm_vision_tower": True}, {"mm_tunable_parts": "mm_vision_tower"}])
def test_inside_wins_and_is_saved(tmp_path: Path, as_published: bool, keys: dict) -> None:
    folder, own = siglip_checkpoint(tmp_path / "llava", **keys), inside(7)
    store(folder, tensors(folder) | (cut(own) if as_published else own))
    loaded = load(folder)
    layer = loaded.model.get_vision_tower().vision_tower.encoder.layers[3].self_attn.k_proj.weight
    assert torch.equal(layer, own[NESTED + "encoder.layers.3.self_attn.k_proj.weight"].float())
    loaded.model.save_pretrained(tmp_path / "saved")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "saved")
    names = set(tensors(tmp_path / "saved"))
    assert set(cut(own)) <= names and not names & (set(own) - set(cut(own)))
    again = load(tmp_path / "saved")
    assert torch.equal(features(again), features(loaded)) and torch.equal(answer(again), answer(loaded))
    assert again.model.get_vision_tower().config.num_hidden_layers == 5


def test_a_published_name_needs_no_folder_where_weights_are_inside(tmp_path: Path) -> None:
    source = locate_tower("google/siglip-so400m-patch14-384", str(tmp_path))
    config, processor = source.config, build_image_processor(source)
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("siglip_vision_model", 1152, 27)
    assert (config.intermediate_size, config.num_attention_heads, config.hidden_act) == (4304, 16, "gelu_pytorch_tanh")
    assert (config.image_size, config.patch_size, config.layer_norm_eps) == (384, 14, 1e-6)
    assert dict(processor.size) == dict(processor.crop_size) == {"height": 384, "width": 384}
    assert (tuple(processor.image_mean), tuple(processor.image_std)) == ((0.5,) * 3, (0.5,) * 3)


def test_a_whole_siglips_folder(tmp_path: Path) -> None:
    folder = siglip_checkpoint(tmp_path / "llava")
    vision = json.loads((SIGLIP / "config.json").read_text())
    whole = {"model_type": "siglip", "text_config": {}, "vision_config": vision}
    (folder / "siglip_tower/config.json").write_text(json.dumps(whole))
    rest = {"text_model.final_layer_norm.weight": torch.zeros(8), "logit_scale": torch.zeros(1)}
    store(folder / "siglip_tower", tensors(SIGLIP) | rest | {"logit_bias": torch.zeros(1)})
    assert torch.equal(features(load(folder)), features(load(siglip_checkpoint(tmp_path / "plain"))))


def _without(key: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = tensors(folder)
        del weights[key]
        store(folder, weights)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without("vision_model.encoder.layers.3.mlp.fc1.weight"), "1 missing in .*encoder.layers.3.mlp.fc1.weight"),
        (lambda folder: store(folder, tensors(folder) | {"vision_model.extra": torch.zeros(1)}), "1 unexpected in"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"size": {"height": 224, "width": 224}}'),
            "makes pictures of 224 x 224 pixels, expected 384 x 384",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImage"}'),
            "'image_processor_type' 'CLIPImage', expected one of SiglipImageProcessor",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, spoil: Callable, complaint: str) -> None:
    folder = siglip_checkpoint(tmp_path / "llava")
    spoil(folder / "siglip_tower")
    with pytest.raises(InputError, match=complaint) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


def test_siglip_needs_no_file_for_its_pixels(tmp_path: Path) -> None:
    folder = siglip_checkpoint(tmp_path / "llava")
    with_file = load(folder).processor
    (folder / "siglip_tower/preprocessor_config.json").unlink()
    assert load(folder).processor.to_dict() == with_file.to_dict()


def test_several_scales_with_weights_inside_are_saved(tmp_path: Path) -> None:
    folder = copied(tmp_path / "llava", FAMILIES / "s2", unfreeze_mm_vision_tower=True)
    beside = load(folder)
    own = {NESTED + name.removeprefix("vision_model."): w for name, w in tensors(folder / "vision_tower").items()}
    (folder / "vision_tower/model.safetensors").unlink()
    store(folder, tensors(folder) | own)
    loaded = load(folder)
    assert torch.equal(answer(loaded), answer(beside))
    loaded.model.save_pretrained(tmp_path / "saved")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert dict(again.processor.crop_size) == {"height": 1008, "width": 1008}
    assert again.model.config.mm_hidden_size == 96 and torch.equal(answer(again), answer(loaded))


@pytest.mark.parametrize("size", [336, {"shortest_edge": 336}, {"height": 336, "width": 336}])
def test_pictures_are_made_as_large_as_the_largest_scale(tmp_path: Path, size: object) -> None:
    folder = copied(tmp_path / "llava", FAMILIES / "s2", s2_scales="672,336")
    folder.joinpath("config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {"mm_hidden_size": 64})
    )
    file = folder / "vision_tower/preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"size": size}))
    source = locate_tower("vision_tower", str(folder))
    processor = build_image_processor(source, 672)
    kind = "height" if isinstance(size, dict) and "height" in size else "shortest_edge"
    assert processor.size[kind] == 672 and dict(processor.crop_size) == {"height": 672, "width": 672}


@pytest.mark.parametrize(
    "name",
    [
        "eva02_enormous_patch14_clip_224", "BAAI/EVA-CLIP-8B", "EVA02-CLIP-L-14-336", "imagebind_huge", "hf:x/y",
        "open_clip_hub:hf-hub:laion/CLIP-ViT-bigG-14", "facebook/dinov2-large", "OpenGVLab/InternViT-300M-448px",
        "DeepGlint-AI/mlcd-vit-large-patch14-336",
    ],
)  # fmt: skip
def test_towers_of_another_kind_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match="is another kind; the nearest that work are .*google/siglip-so400m-patch"):
        locate_tower(name, None)


@pytest.mark.parametrize("kind", ["siglip", "s2"])
def test_a_language_model_gets_eyes_of_every_kind_and_keeps_them(tmp_path: Path, kind: str) -> None:
    place = SIGLIP if kind == "siglip" else FAMILIES / "s2/vision_tower"
    scales = {"s2": True, "s2_scales": "336,672"} if kind == "s2" else {}
    model = LlavaLlamaForCausalLM.from_pretrained(plain_base(tmp_path / "vicuna"), dtype=torch.float32)
    keys = {"vision_tower": str(place), "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch"}
    model.get_model().initialize_vision_modules(SimpleNamespace(**keys, mm_projector_type="mlp2x_gelu", **scales))
    assert model.config.mm_hidden_size == (64 if kind == "s2" else 32)
    assert model.get_vision_tower().image_processor.crop_size["height"] == (672 if kind == "s2" else 384)
    model.config.mm_use_im_patch_token = False
    model.eval().save_pretrained(tmp_path / "llava")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(TINY / name, tmp_path / "llava")
    again = load(tmp_path / "llava")
    pixels = torch.randn(1, 3, *[again.model.get_vision_tower().image_size] * 2)
    with torch.no_grad():
        assert torch.equal(again.model.encode_images(pixels), model.encode_images(pixels))
