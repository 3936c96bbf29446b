"""What a configuration asks vLLM for, and what is refused in one line."""

from typing import Any

import pytest
import transformers

from llava.errors import InputError
from llava.reduction import create
from llava.vllm.early import check_version
from llava.vllm.plan import method_in, tokens_of

VISION = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "image_size": 64, "patch_size": 8}


def config(settings: Any = None, **more: Any) -> Any:
    """A llava-hf configuration of 8 x 8 patches, 6 encoder layers and 8 layers of the LLM."""
    tower = transformers.CLIPVisionConfig(**VISION, num_hidden_layers=6)
    text = transformers.LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=8, num_attention_heads=2)
    made = transformers.LlavaConfig(**{"vision_config": tower, "text_config": text} | more)
    if settings is not None:
        made.visiondrop = settings
    return made


@pytest.mark.parametrize(
    ("settings", "retain", "tokens"),
    [
        ("none", None, 64),
        ({"method": "visionzip", "dominant": 20, "contextual": 4}, None, 24),
        ({"method": "visionzip", "dominant": 20, "contextual": 4}, 12, 12),
        ("visionzip", 12, 12),
        ({"method": "divprune", "retain": 16}, 8, 8),
    ],
)
def test_every_picture_gets_as_many_tokens_as_the_method_leaves(settings: Any, retain: Any, tokens: int) -> None:
    told = config(settings)
    assert tokens_of(method_in(told, retain), told) == tokens


def test_cls_counts_where_it_is_kept() -> None:
    told = config("none", vision_feature_select_strategy="full")
    assert tokens_of(method_in(told), told) == 65


def test_a_requests_budget_leaves_what_no_budget_sets() -> None:
    told = config({"method": "random", "keep": 30, "seed": 7})
    assert method_in(told, 10) == create("random", keep=10, seed=7)


def test_methods_may_ask_the_last_layer_where_vllm_loads_it() -> None:
    fixed = {"method": "prumerge", "retain": 17}
    told = config(fixed, vision_feature_layer=-1)
    assert tokens_of(method_in(told), told) == 17
    with pytest.raises(InputError, match="vLLM loads 5 layers of this vision encoder.*prumerge, which asks layer -1"):
        method_in(config(fixed))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (None, "--hf-overrides must say how pictures are reduced: got None"),
        (3, "got 3 for 'visiondrop'"),
        ({"retain": 12}, "must hold its name"),
        ({"method": "visionzip", "dominat": 3}, "has no setting 'dominat'"),
        ("visionzap", "unknown reduction method 'visionzap'"),
        ({"method": "visiondrop", "retain": 16}, "one length of a prompt.*visiondrop, which drops after layers"),
        ({"method": "pyramiddrop", "layer_list": [2], "image_token_ratio_list": [0.5]}, "one length of a prompt"),
        ({"method": "vscan", "visual_token_num": 16, "early_layer": 1}, "vscan, which reads the question"),
        ({"method": "cdpruner", "retain": 16}, "cdpruner, which reads the question"),
        ("prumerge", "counts a picture's tokens before it looks at it: got prumerge"),
        ({"method": "prumerge", "adaptive": False, "variant": "prumerge+"}, "before it looks at it"),
        ({"method": "downsample", "rows": 4, "cols": 4}, "pictures of one size: got downsample"),
        ({"method": "hiprune", "retention": 16, "object_layer": 6}, "hiprune, which asks layer 5"),
        ({"method": "visionzip", "dominant": 70, "contextual": 4}, "must not exceed what the encoder has"),
    ],
)
def test_what_vllm_cannot_do_is_refused_in_one_line(settings: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        method_in(config(settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("retain", [0, -3, 1.5, True, "12", 100])
def test_budgets_that_are_none_are_refused(retain: Any) -> None:
    with pytest.raises(InputError):
        method_in(config("visionzip"), retain)


def test_other_towers_are_refused() -> None:
    tower = transformers.SiglipVisionConfig(**VISION)
    with pytest.raises(InputError, match="where CLIP sees them, at one layer: got 'siglip_vision_model'"):
        method_in(config("none", vision_config=tower))
    with pytest.raises(InputError, match=r"at one layer: got 'clip_vision_model' at \[1, 2\]"):
        method_in(config("none", vision_feature_layer=[1, 2]))


@pytest.mark.parametrize("version", ["0.31.2", "0.33.0", "1.0", "dev"])
def test_other_versions_are_refused_in_one_line(version: str) -> None:
    with pytest.raises(InputError, match=f"written for vLLM 0.32: got {version}"):
        check_version(version)
    check_version("0.32.7")
