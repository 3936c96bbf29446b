"""LLaVA's names on the vision tower, and where it gets its weights and its pixels from."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoints import TINY, copied, load
from transformers import CLIPVisionModel

from llava.errors import InputError
from llava.model.multimodal_encoder.builder import build_image_processor, build_vision_tower, locate_tower
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower

CLIP = str(TINY / "vision_tower")
KEYS = SimpleNamespace(mm_vision_tower=CLIP, mm_vision_select_layer=-2, mm_vision_select_feature="patch")


@pytest.mark.parametrize("delayed", [False, True])
def test_weights_come_now_or_when_they_are_asked_for(delayed: bool) -> None:
    tower = build_vision_tower(KEYS, delay_load=delayed)
    assert tower.is_loaded is not delayed and tower.vision_tower_name == CLIP
    assert (tower.hidden_size, tower.num_patches, tower.num_patches_per_side) == (32, 576, 24)
    assert (tower.select_layer, tower.select_feature) == (-2, "patch")
    if delayed:
        tower.load_model(device_map="auto")
    assert tower.is_loaded and not any(weight.requires_grad for weight in tower.parameters())
    host = CLIPVisionModel.from_pretrained(CLIP, dtype=torch.float32).state_dict()
    assert all(torch.equal(tower.vision_tower.state_dict()[name], host[name]) for name in host)
    before = tower.vision_tower.embeddings.class_embedding
    tower.load_model()
    assert tower.vision_tower.embeddings.class_embedding is before


def test_llavas_signature() -> None:
    tower = CLIPVisionTower(CLIP, args=KEYS, delay_load=True)
    assert not tower.is_loaded
    named = SimpleNamespace(vision_tower=CLIP, mm_vision_select_layer=-2)
    assert build_vision_tower(named, delay_load=True).vision_tower_name == CLIP


@torch.no_grad()
@pytest.mark.parametrize("feature", ["patch", "cls_patch"])
def test_features_are_those_selected_among_the_hosts(feature: str) -> None:
    tower = build_vision_tower(SimpleNamespace(mm_vision_tower=CLIP, mm_vision_select_feature=feature))
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    outputs = tower.vision_tower(pixels, output_hidden_states=True)
    torch.testing.assert_close(tower.feature_select(outputs), tower(pixels))
    assert tower.feature_select(outputs).shape[1] == (576 if feature == "patch" else 577)
    assert torch.equal(tower.dummy_feature, torch.zeros(1, 32)) and tower.dummy_feature.dtype == tower.dtype


def test_the_image_processor_is_the_towers() -> None:
    tower = build_vision_tower(KEYS, delay_load=True)
    assert tower.image_processor.crop_size["height"] == 336 and tower.has_image_processor
    loaded = load(TINY)
    assert loaded.model.get_vision_tower().image_processor is loaded.processor


def test_a_tower_that_lies_nowhere_by_itself(tmp_path: Path) -> None:
    geometry = json.loads(Path(CLIP, "config.json").read_text())
    tower = CLIPVisionTower("gone", SimpleNamespace(mm_vision_config=geometry), delay_load=True)
    with pytest.raises(InputError, match="'gone' is known by its geometry alone; they come with the checkpoint"):
        tower.load_model()
    with pytest.raises(InputError, match="needs its preprocessor_config.json: looked in no folder"):
        _ = tower.image_processor
    with pytest.raises(InputError, match="a vision tower must be named"):
        build_vision_tower(SimpleNamespace(), delay_load=True)


def test_weights_of_a_whole_clip(tmp_path: Path) -> None:
    """The published towers' files hold CLIP's text half too."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(CLIP, tmp_path / "clip")
    held = load_file(tmp_path / "clip/model.safetensors")
    bare = {name.removeprefix("vision_model."): tensor for name, tensor in held.items()}
    both = {"vision_model." + name: tensor for name, tensor in bare.items()}
    both |= {"text_model.embeddings.position_ids": torch.zeros(1), "logit_scale": torch.zeros(1)}
    both |= {"vision_model.embeddings.position_ids": torch.arange(577)[None]}
    save_file(both, tmp_path / "clip/model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "clip/config.json").read_text())
    whole = {"model_type": "clip", "vision_config": config, "text_config": {}}
    (tmp_path / "clip/config.json").write_text(json.dumps(whole))
    tower = build_vision_tower(SimpleNamespace(mm_vision_tower=str(tmp_path / "clip")))
    assert torch.equal(tower.vision_tower.embeddings.class_embedding, bare["embeddings.class_embedding"].float())


def _set(**changes: Any) -> Any:
    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda file: file.unlink(), "a vision tower needs its preprocessor_config.json: looked in .*vision_tower and"),
        (lambda file: file.write_text("{"), "preprocessor_config.json must be JSON"),
        (lambda file: file.write_text("[]"), "must be one JSON object"),
        (_set(image_mean=[0.5, "x", 0.5]), "'image_mean' .*expected a list of 3 values"),
        (_set(image_std=[0, 1, 1]), "'image_std' .*expected a list of 3 values, each a number above 0"),
        (_set(size=-3), "'size' -3, expected a number of pixels"),
        (_set(size={}), "'size' {}, expected a number of pixels"),
        (_set(resample=9), "'resample' 9, expected a whole number from 0 to 5"),
        (_set(do_normalize="no"), "'do_normalize' 'no', expected true or false"),
        (_set(image_processor_type="SiglipImageProcessor"), "expected one of CLIPImageProcessor"),
        (_set(crop_size=224), "makes pictures of 224 x 224 pixels, expected 336 x 336; use the tower's own file"),
        (_set(do_center_crop=False), "makes pictures of None x None pixels, expected 336 x 336"),
    ],
)
def test_preprocessing_is_never_guessed(tmp_path: Path, spoil: Any, complaint: str) -> None:
    folder = copied(tmp_path / "llava")
    spoil(folder / "vision_tower/preprocessor_config.json")
    with pytest.raises(InputError, match=complaint):
        load(folder)
    with pytest.raises(InputError, match=complaint):
        build_image_processor(locate_tower("vision_tower", str(folder)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_hidden_layers": 10**6}, "'num_hidden_layers' 1000000, expected a whole number from 1 to 256"),
        ({"hidden_size": "32"}, "'hidden_size' '32', expected a whole number"),
        ({"hidden_size": 33}, r"hidden size \(33\) is not a multiple of the number of attention heads"),
        ({"patch_size": 0}, "'patch_size' 0"),
        ({"patch_size": 1}, "pictures of 336 pixels in patches of 1"),
        ({"image_size": 4097}, "'image_size' 4097"),
        ({"hidden_act": "someone/kernel"}, "'hidden_act' 'someone/kernel', expected one of"),
        ({"num_channels": 4}, "'num_channels' 4, expected one of 3"),
        ({"hidden_size": 64}, "has mm_hidden_size 32, and the tower 'vision_tower' gives 64 numbers per patch"),
    ],
)
def test_geometry_that_cannot_be(tmp_path: Path, changes: dict, complaint: str) -> None:
    folder = copied(tmp_path / "llava")
    _set(**changes)(folder / "vision_tower/config.json")
    with pytest.raises(InputError, match=complaint):
        load(folder)


def test_a_towers_configuration_chooses_no_code(tmp_path: Path) -> None:
    """`kernels` would be asked for a repository by such a name."""
    folder = copied(tmp_path / "llava", _attn_implementation="someone/kernel", auto_map={"AutoConfig": "x--y.Z"})
    changes = dict.fromkeys(("_attn_implementation", "attn_implementation", "use_kernels"), "someone/kernel")
    _set(**changes)(folder / "vision_tower/config.json")
    model = load(folder).model
    assert model.config._attn_implementation == model.get_vision_tower().config._attn_implementation == "sdpa"
    assert not hasattr(model.config, "auto_map")
