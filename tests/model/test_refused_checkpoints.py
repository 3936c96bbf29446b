"""Checkpoints that cannot be what they say: one clear line, before weights are read where it can be known before."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TINY, copied, load, reconfigure, store, tensors

from llava.errors import InputError
from llava.mm_utils import get_model_name_from_path
from llava.model import LlavaConfig, builder
from llava.model.checkpoint import quantization
from llava.reduction import create


def _drop_tensor(folder: Path) -> None:
    weights = tensors(folder)
    del weights["model.mm_projector.0.weight"], weights["model.layers.3.mlp.up_proj.weight"]
    store(folder, weights)


def _reshape(folder: Path) -> None:
    weights = tensors(folder)
    weights["model.layers.3.mlp.up_proj.weight"] = torch.zeros(4, 4, dtype=torch.float16)
    store(folder, weights)


def _truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _truncate_bin(folder: Path) -> None:
    store(folder, tensors(folder), "bin")
    data = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(data[: len(data) // 2])


def _remove_tower_weights(folder: Path) -> None:
    (folder / "vision_tower/model.safetensors").unlink()


def _another_tower(folder: Path) -> None:
    (folder / "vision_tower/config.json").write_text(json.dumps({"model_type": "dinov2"}))


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (_drop_tensor, "2 missing in .*: model.layers.3.mlp.up_proj.weight, model.mm_projector.0.weight"),
    "unexpected": (
        lambda f: store(f, tensors(f) | {"model.extra.weight": torch.zeros(2)}),
        "1 unexpected in .*: model.extra.weight",
    ),
    "misshapen": (_reshape, r"1 of a wrong shape in .*: model.layers.3.mlp.up_proj.weight is \(4, 4\), expected"),
    "truncated": (_truncate, "weights of '.*' cannot be read"),
    "truncated bin": (_truncate_bin, "weights of '.*' cannot be read"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "weights of '.*' cannot be read"),
    "no config": (lambda f: (f / "config.json").unlink(), "needs a readable config.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "needs a readable config.json"),
    "no tokenizer": (lambda f: (f / "tokenizer.model").unlink(), "must hold a LLaMA tokenizer"),
    "unknown family": (
        lambda f: reconfigure(f, model_type="gpt2"),
        "unknown model family 'gpt2' .* expected model_type llava, ll",
    ),
    "llava-hf": (
        lambda f: reconfigure(f, model_type="llava", text_config={"model_type": "gemma"}),
        "a llava-hf checkpoint's config.json must fit: .* a language model 'gemma', expected one of llama, mistral",
    ),
    "no tower named": (lambda f: reconfigure(f, mm_vision_tower=None), "has no mm_vision_tower"),
    "tower not there": (lambda f: reconfigure(f, mm_vision_tower="./clip"), "looked for a config.json in .*clip"),
    "tower on no hub": (
        lambda f: reconfigure(f, mm_vision_tower="some/clip"),
        "some/clip and on the hub; put the tower",
    ),
    "tower weights": (_remove_tower_weights, "vision_tower"),
    "tower family": (_another_tower, "must be a CLIP or SigLIP encoder: got model_type 'dinov2'"),
    "projector": (
        lambda f: reconfigure(f, mm_projector_type="qformer"),
        "unknown mm_projector_type 'qformer': expected linear, identity, mlpNx_gelu such as",
    ),
    "projector of no name": (
        lambda f: reconfigure(f, mm_projector_type=["linear"]),
        "has 'mm_projector_type' .*expected a text",
    ),
    "endless projector": (lambda f: reconfigure(f, mm_projector_type="mlp99999999x_gelu"), "unknown mm_projector_type"),
    "identity": (lambda f: reconfigure(f, mm_projector_type="identity"), "identity needs features as wide as the lang"),
    "no layer": (
        lambda f: reconfigure(f, mm_vision_select_layer="-2"),
        "has 'mm_vision_select_layer' '-2', expected a whole number",
    ),
    "embeddings": (lambda f: reconfigure(f, mm_vision_select_layer=0), "must name a layer's output: got 0, expected"),
    "layer": (lambda f: reconfigure(f, mm_vision_select_layer=-40), "mm_vision_select_layer must name a layer's out"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, complaint = CASES[name]
    folder = copied(tmp_path / "llava")
    spoil(folder)
    with pytest.raises(InputError, match=complaint) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "aspect ratio": ({"image_aspect_ratio": "anyres_max"}, "image_aspect_ratio must be known: got 'anyres_max'"),
    "training's forms": ({"image_aspect_ratio": "highres"}, "image_aspect_ratio 'highres' .* is not built here"),
    "merge type": ({"mm_patch_merge_type": "maxpool2x2"}, "mm_patch_merge_type must be known: got 'maxpool2x2'"),
    "feature": ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature must be known: got 'cls'"),
    "[CLS]": (
        {
            "mm_vision_select_feature": "cls_patch",
            "mm_patch_merge_type": "spatial_unpad",
            "image_aspect_ratio": "anyres_max_4",
            "image_grid_pinpoints": "(1x1),...,(2x2)",
        },
        r"mm_patch_merge_type 'spatial_unpad' lays the patches of tiles out .* in which \[CLS\] has no place",
    ),
    "pinpoints": ({"image_aspect_ratio": "anyres"}, "image_grid_pinpoints must list"),
    "tiles": (
        {"image_aspect_ratio": "anyres", "image_grid_pinpoints": "[(224, 448)]"},
        "got 224 x 448 pixels, expected multiples of the vision tower's 336",
    ),
    "length": ({"tokenizer_model_max_length": 0}, "has 'tokenizer_model_max_length' 0, expected a whole number from 1"),
    "tower's width": ({"mm_hidden_size": 96}, "has mm_hidden_size 96, and the tower"),
    "scales": (
        {"s2": True, "s2_scales": "336,500"},
        "s2_scales must name the vision tower's own .* '336,500'",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_about_pictures_are_checked_before_weights_are_read(tmp_path: Path, name: str) -> None:
    changes, complaint = SETTINGS[name]
    folder = copied(tmp_path / "llava", **changes)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=complaint) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sizes", [{"crop_size": 224}, {"crop_size": {"height": 336, "width": 300}}])
def test_an_image_processor_of_another_tower_is_refused(tmp_path: Path, sizes: dict[str, Any]) -> None:
    folder = copied(tmp_path / "llava")
    file = folder / "vision_tower/preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | sizes))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="preprocessor_config.json"):
        load(folder)


class _Bomb:
    """Pickles to a call that makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "mm_projector.bin", "non_lora_trainables.bin"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, file: str) -> None:
    target = tmp_path / "made-by-a-pickle"
    folder = copied(tmp_path / "llava")
    if file == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": _Bomb(target)}, folder / file)
    base = None if file == "pytorch_model.bin" else TINY
    with pytest.raises(InputError, match="nothing but tensors"):
        load(folder, base, name="llava-lora" if file.startswith("non_lora") else "llava")
    assert not target.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a checkpoint folder must exist: '.*nowhere' does not"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="needs a readable config.json: got '.*empty'"):
        (tmp_path / "empty").mkdir()
        load(tmp_path / "empty")


def test_settings_are_checked_before_weights_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "read_state", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(InputError, match="layer_list must stay below"):
        load(TINY, reduction=create("pyramiddrop"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="8-bit and 4-bit loading need bitsandbytes: it is not installed; pip install"):
        load(TINY, load_8bit=True)


def test_one_of_8_and_4_bit() -> None:
    with pytest.raises(InputError, match="choose one of 8-bit, 4-bit and a quantization_config: got several; drop"):
        quantization(LlavaConfig(), torch.float16, load_8bit=True, load_4bit=True)
    assert quantization(LlavaConfig(), torch.float16) is None


def test_flash_attention_that_is_not_installed() -> None:
    with pytest.raises(InputError, match="FlashAttention2 .*; use sdpa"):
        load(TINY, use_flash_attn=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/llava-v1.5-7b/", "llava-v1.5-7b"),
        ("liuhaotian/llava-v1.5-7b", ["liuhaotian", "llava-v1.5-7b"][1]),
        ("runs/llava-lora/checkpoint-500", "llava-lora_checkpoint-500"),
    ],
)
def test_model_names(path: str, name: str) -> None:
    assert get_model_name_from_path(path) == name
