"""What a folder is, its files say; where its weights are, its index may say only beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import TINY, answer, copied, load, lora_on_base, projector_on_base, reconfigure, store, tensors

from llava.errors import InputError


def test_a_whole_checkpoint_with_lora_in_its_name() -> None:
    assert torch.equal(answer(load(TINY, name="llava-lora-merged")), answer(load(TINY)))


def test_an_adapter_without_lora_in_its_name(tmp_path: Path) -> None:
    base, trained = lora_on_base(tmp_path)
    got = answer(load(trained, base, name="llava-my-task"))
    assert torch.equal(got, answer(load(trained, base, name="llava-lora")))
    with pytest.raises(InputError, match="holds an adapter and no weights of a model; give model_base"):
        load(trained, name="llava-my-task")


def test_a_projector_with_lora_in_its_name(tmp_path: Path) -> None:
    base, trained = projector_on_base(tmp_path)
    assert torch.equal(answer(load(trained, base, name="llava-lora")), answer(load(trained, base, name="llava")))


def test_an_adapter_beside_whole_weights(tmp_path: Path) -> None:
    """A merged model that was saved into its adapter's folder is whole without a base."""
    _, trained = lora_on_base(tmp_path)
    for name in ("tokenizer.model", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(TINY / name, trained)
    assert torch.equal(answer(load(trained)), answer(load(TINY)))


def test_a_whole_checkpoint_with_a_base() -> None:
    with pytest.raises(InputError, match="must hold mm_projector.bin or an adapter .* holds a whole model; leave mod"):
        load(TINY, TINY, name="llava")


ADAPTERS: list[tuple[dict, str]] = [
    ({"peft_type": "PREFIX_TUNING"}, "'peft_type' 'PREFIX_TUNING', expected one of LORA"),
    ({"r": "4"}, "'r' '4', expected a whole number"),
    ({"r": 8}, "of a wrong shape in"),
    ({"target_modules": "["}, "'target_modules' '\\[', expected a regular expression or a list"),
    ({"target_modules": ["q_proj"]}, "12.* unexpected|24 unexpected"),
    ({"target_modules": ["nothing"]}, "must fit its base"),
    ({"target_modules": []}, "names no target_modules"),
    ({"init_lora_weights": "pissa"}, "'init_lora_weights' 'pissa', expected true or false or one of gaussian, orth"),
    ({"megatron_config": {"x": 1}, "megatron_core": "antigravity"}, "'megatron_config'"),
]


@pytest.mark.parametrize(("changes", "complaint"), ADAPTERS)
def test_adapters_that_cannot_be_merged(tmp_path: Path, changes: dict, complaint: str) -> None:
    base, trained = lora_on_base(tmp_path)
    file = trained / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(InputError, match=complaint) as refused:
        load(trained, base, name="llava")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "part", ["../other.safetensors", "/etc/passwd", "", ".", "model/../x.safetensors", "x" * 300, "gone.safetensors"]
)
def test_an_index_that_leads_astray(tmp_path: Path, part: str) -> None:
    folder = copied(tmp_path / "llava")
    store(folder, tensors(folder), shards=2)
    shutil.copy(folder / "model-00001-of-00002.safetensors", tmp_path / "other.safetensors")
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    moved = {name: part if value.startswith("model-00001") else value for name, value in index["weight_map"].items()}
    file.write_text(json.dumps(index | {"weight_map": moved}))
    with pytest.raises(InputError, match="must name files beside it|must hold gone.safetensors"):
        load(folder)


@pytest.mark.parametrize("index", [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {}}, 3])
def test_an_index_of_another_kind(tmp_path: Path, index: Any) -> None:
    folder = copied(tmp_path / "llava")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="has no weight_map of names and files|must be one JSON object"):
        load(folder)


CONFIGS: list[tuple[dict, str]] = [
    ({"hidden_size": "48"}, "'hidden_size' '48', expected a whole number from 1 to 65536"),
    ({"hidden_size": -48}, "'hidden_size' -48"),
    ({"num_hidden_layers": 10**7}, "'num_hidden_layers' 10000000, expected a whole number from 1 to 512"),
    ({"num_hidden_layers": 500}, "missing in"),
    ({"vocab_size": 2**24}, "of a wrong shape in"),
    ({"num_attention_heads": 7}, "multiple of"),
    ({"num_key_value_heads": 4}, "num_attention_heads 6 is no multiple of num_key_value_heads 4"),
    ({"pad_token_id": 700}, "pad_token_id 700 is not below vocab_size 700"),
    ({"rope_scaling": {"type": "yarn", "factor": "x"}}, "'rope_scaling'"),
    ({"rms_norm_eps": True}, "'rms_norm_eps' True, expected a number"),
    ({"mm_projector_type": "mlp999999999x_gelu"}, "unknown mm_projector_type"),
    ({"mm_hidden_size": 64}, "has mm_hidden_size 64, and the tower 'vision_tower' gives 32 numbers per patch"),
    ({"mm_vision_tower": 3}, "'mm_vision_tower' 3, expected a text"),
    ({"mm_vision_tower": "a\0b"}, "'mm_vision_tower'"),
    ({"s2": True}, "has mm_hidden_size 32, and the tower 'vision_tower' gives 96 numbers per patch"),
    ({"s2": True, "s2_scales": 336}, "'s2_scales' 336, expected a text"),
    ({"image_grid_pinpoints": [[1, "x"]]}, "'image_grid_pinpoints'"),
    ({"anything": json.loads("[" * 30 + "]" * 30)}, "nests 'anything' more than 20 levels deep"),
]


@pytest.mark.parametrize(("changes", "complaint"), CONFIGS)
def test_configurations_that_cannot_be(tmp_path: Path, changes: dict, complaint: str) -> None:
    folder = copied(tmp_path / "llava")
    reconfigure(folder, **changes)
    with pytest.raises(InputError, match=complaint) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": "hot"},
        {"top_k": -3},
        {"eos_token_id": ["2"]},
        {"num_beams": 10**9},
        {"max_new_tokens": 1.5},
        {"do_sample": "yes"},
    ],
)
def test_generation_settings_that_cannot_be(tmp_path: Path, changes: dict) -> None:
    folder = copied(tmp_path / "llava")
    (folder / "generation_config.json").write_text(json.dumps(changes))
    with pytest.raises(InputError, match=f"generation_config.json must fit: .* has '{next(iter(changes))}'"):
        load(folder)


def test_keys_that_mean_nothing_here_are_kept_and_those_that_act_are_not(tmp_path: Path) -> None:
    acting = {"auto_map": {"AutoModel": "x.Y"}, "to_dict": 1, "transformers_weights": "../x.safetensors"}
    folder = copied(tmp_path / "llava", mm_projector_lr=2e-5, tune_mm_mlp_adapter=True, **acting)
    config = load(folder).model.config
    assert (config.mm_projector_lr, config.tune_mm_mlp_adapter) == (2e-5, True)
    assert not hasattr(config, "auto_map") and callable(config.to_dict)
