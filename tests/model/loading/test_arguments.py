"""The loader's arguments: precision, settings of the configuration, and names it does not know."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TINY, copied, load, reconfigure

from llava.errors import InputError
from llava.model import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.builder import load_pretrained_model
from llava.model.loading.placement import dtype_for, runs_on_cpu


def loaded(folder: Path = TINY, **arguments: Any) -> Any:
    """The model with LLaVA's defaults: `device` is `cuda`."""
    return load_pretrained_model(str(folder), None, "llava", **arguments)[1]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="about machines without an accelerator")
@pytest.mark.parametrize("arguments", [{}, {"device_map": "cpu"}, {"device": "cpu"}, {"device_map": {"": "cpu"}}])
def test_float32_on_a_cpu_however_it_is_called(arguments: dict) -> None:
    model = loaded(**arguments)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (torch.bfloat16, torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        ("torch.float16", torch.float16),
        ("auto", torch.float16),
        (None, torch.float32),
    ],
)
def test_precision_by_either_name(name: str, value: Any, wanted: torch.dtype) -> None:
    assert {weight.dtype for weight in loaded(device="cpu", **{name: value}).parameters()} == {wanted}


def test_auto_is_the_configurations_then_the_weights(tmp_path: Path) -> None:
    folder = copied(tmp_path / "llava", torch_dtype=None)
    assert loaded(folder, device="cpu", dtype="auto").dtype == torch.float16
    reconfigure(folder, dtype="bfloat16")
    assert loaded(folder, device="cpu", dtype="auto").dtype == torch.bfloat16


def test_two_precisions_are_refused() -> None:
    assert dtype_for("float16", torch.float16, torch.float32) == torch.float16
    with pytest.raises(InputError, match="two names for one thing: got 'float16' and torch.float32; give one"):
        loaded(dtype="float16", torch_dtype=torch.float32)
    for wrong in ("float8", "int8", torch.int8, 16):
        with pytest.raises(InputError, match="dtype must be one of float16, bfloat16, float32, float64 or auto"):
            loaded(dtype=wrong)


def test_a_kernel_of_ours_is_the_language_models_alone(tmp_path: Path) -> None:
    """The vision tower has no prefix; a folder that was saved with it is one that any LLaVA loads."""
    model = loaded(device="cpu", attn_implementation="shared_prefix")
    assert model.config._attn_implementation == "shared_prefix"
    assert model.get_vision_tower().vision_tower.config._attn_implementation == "sdpa"
    model.save_pretrained(tmp_path / "saved")
    again = LlavaLlamaForCausalLM.from_pretrained(tmp_path / "saved")
    assert again.config._attn_implementation == "sdpa"
    kept = LlavaLlamaForCausalLM.from_pretrained(tmp_path / "saved", attn_implementation="shared_prefix")
    assert kept.config._attn_implementation == "shared_prefix"


def test_what_computes_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert not runs_on_cpu("auto") and not runs_on_cpu({"": 0}) and not runs_on_cpu(None)
    assert not runs_on_cpu({"model": "cpu", "lm_head": 0}) and not runs_on_cpu("auto", {0: 1000, "cpu": 1000})
    assert runs_on_cpu({"": "cpu"}) and runs_on_cpu({"model": "disk", "lm_head": "cpu"})
    assert runs_on_cpu("auto", {"cpu": 1000})


def test_settings_take_the_place_of_the_configurations() -> None:
    overwritten = loaded(overwrite_config={"mm_vision_select_layer": -3, "mm_newline_position": "grid"})
    assert overwritten.get_vision_tower().select_layer == -3
    assert overwritten.config.mm_newline_position == "grid"
    assert loaded(mm_vision_select_layer=-4).get_vision_tower().select_layer == -4
    with pytest.raises(InputError, match="'mm_vision_select_layer' 'last', expected a whole number"):
        loaded(overwrite_config={"mm_vision_select_layer": "last"})


def test_a_configuration_of_the_callers(tmp_path: Path) -> None:
    folder = copied(tmp_path / "llava", mm_vision_select_layer=-5)
    own = LlavaConfig.from_pretrained(folder)
    for given in (own, own.to_dict(), str(folder), folder):
        assert loaded(customized_config=given).get_vision_tower().select_layer == -5


def test_arguments_of_other_versions_are_taken() -> None:
    loaded(multimodal=True, low_cpu_mem_usage=True, use_flash_attention_2=False, trust_remote_code=True)
    with pytest.raises(InputError, match="FlashAttention2 .*; use sdpa"):
        loaded(use_flash_attention_2=True)


@pytest.mark.parametrize("name", ["load_8_bit", "offload_dir", "reduction_method", "tower"])
def test_a_misspelt_argument_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"load_pretrained_model takes no argument '{name}': expected one of its own"):
        loaded(**{name: True})


def test_names_of_paths_may_be_paths() -> None:
    assert load(TINY).context_len == load_pretrained_model(TINY, None, "llava", device=torch.device("cpu"))[3]
