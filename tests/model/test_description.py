"""What was loaded, in one line: of every family and tower that is recorded here."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import PARITY, Load
from tiny_models import tiny_model

from llava.model.description import describe, tower_place
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from llava.reduction import resolve

LINES = {
    "llava-tiny-12l": "LLaVA-1.5 on LLaMA (12 layers), CLIP 336/14 beside the checkpoint, pad, one view (576 tokens)",
    "families/cls-patch": "LLaVA-1.5 on LLaMA (4 layers), CLIP 336/14 beside the checkpoint, pad, one view (577 tokens"
    " with [CLS])",
    "families/llama3-next": "LLaVA-NeXT on LLaMA (5 layers), CLIP 336/14 inside the checkpoint, anyres up to 5 views"
    " (2928 tokens)",
    "families/next-qwen-clip": "LLaVA-NeXT on Qwen2 (3 layers), CLIP 336/14 inside the checkpoint, anyres up to 5 views"
    " (2880 tokens)",
    "families/ov-qwen": "LLaVA-OneVision on Qwen2 (4 layers), SigLIP 384/14 inside the checkpoint, anyres_max_9 up to"
    " 37 views (8829 tokens)",
    "families/s2": "LLaVA-1.5 on LLaMA (4 layers), CLIP 336/14 at 336, 672, 1008 pixels beside the checkpoint, pad, one"
    " view (576 tokens)",
}


@pytest.mark.parametrize("name", LINES)
def test_lines(load: Load, name: str) -> None:
    assert describe(load(name).model, place=tower_place(str(PARITY / name))) == LINES[name]


def test_the_method_and_a_video(load: Load) -> None:
    model = load("families/video-llama").model
    method = resolve({"method": "visionzip", "retain": 64}, model.geometry)
    line = "LLaVA-NeXT on LLaMA (4 layers), CLIP 336/14, anyres up to 5 views (2928 tokens), method visionzip: 65.0"
    assert describe(model, method) == f"{line} tokens per layer on average"
    video = model.geometry_for(8)
    assert describe(model, None, "", video).endswith(f"CLIP 336/14, a video of 8 frames ({video.most_tokens} tokens)")


def test_older_recipes_and_models_without_eyes() -> None:
    line = describe(tiny_model(4, 2, mm_projector_type="linear"))
    assert line == "LLaVA on LLaMA (2 layers), CLIP 16/4, centre crop, one view (16 tokens)"
    blind = LlavaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    assert describe(LlavaLlamaForCausalLM(blind)) == "LLaMA (1 layers) without a vision tower"


def test_the_tower_of_a_base_lies_where_the_bases_weights_are(tmp_path: Path) -> None:
    shutil.copytree(PARITY / "llava-tiny", tmp_path / "adapter", ignore=shutil.ignore_patterns("model.safetensors"))
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps({}))
    assert tower_place(str(tmp_path / "adapter"), str(PARITY / "families/llama3-next")) == "inside the checkpoint"
