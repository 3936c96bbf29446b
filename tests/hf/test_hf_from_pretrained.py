"""Reduced models of checkpoints that transformers loaded: placed by itself, or with weights of 8 or 4 bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_hf_generate import GREEDY, ROWS
from tiny_hf import MODELS, inputs, shaken

import llava.hf

METHODS = ("visiondrop", "visionzip")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each class as transformers saves it."""
    made = {}
    for name, model in MODELS.items():
        made[name] = tmp_path_factory.mktemp(name)
        model().save_pretrained(made[name])
    return made


def loaded(folder: Path, **kwargs: Any) -> Any:
    kind = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
    model = kind.from_pretrained(folder, device_map="auto", **kwargs).eval()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    return model


@pytest.mark.parametrize("name", MODELS)
def test_placed_by_itself(name: str, folders: dict[str, Path]) -> None:
    plain, placed = MODELS[name](), loaded(folders[name])
    given = inputs(plain, ROWS)
    for method in METHODS:
        wanted = llava.hf.reduce(plain, method, retain=0.4).generate(**given, **GREEDY)
        got = llava.hf.reduce(placed, method, retain=0.4).generate(**given, **GREEDY)
        assert all(torch.equal(one, other) for one, other in zip(got.logits, wanted.logits, strict=True))


@pytest.mark.parametrize("name", ["llava", "qwen2_5", "internvl"])
def test_weights_of_8_bits(name: str, folders: dict[str, Path]) -> None:
    """Everything kept is the quantised model's own answer, and tokens are dropped."""
    pytest.importorskip("bitsandbytes")
    few = transformers.BitsAndBytesConfig(load_in_8bit=True)
    model = loaded(folders[name], quantization_config=few)
    check_quantized(model, inputs(MODELS[name](), ROWS))


def check_quantized(model: Any, given: dict[str, torch.Tensor]) -> None:
    short = {**GREEDY, "max_new_tokens": 2}
    wanted = model.generate(**given, **short)
    kept = {"fast_v_agg_layer": 2, "fast_v_attention_rank": 4000}
    whole = llava.hf.reduce(model, "fastv", **kept).generate(**given, **short)
    assert all(torch.equal(one, other) for one, other in zip(whole.logits, wanted.logits, strict=True))
    for method in METHODS:
        made = llava.hf.reduce(model, method, retain=0.4).generate(**given, **short)
        assert made.logits[0].isfinite().all()
        assert made.past_key_values.layers[-1].get_seq_length() < given["input_ids"].shape[1]


def wider(name: str) -> Any:
    """The tiny model with widths that 4 bits can have, 64."""
    kind, config = type(made := MODELS[name]()), made.config
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.num_attention_heads = 64, 4
    vision.hidden_size = vision.intermediate_size = 64
    if hasattr(text, "head_dim"):
        text.head_dim = 16
    if hasattr(vision, "out_hidden_size"):
        vision.out_hidden_size = 64
        text.rope_parameters["mrope_section"] = [2, 3, 3]
    return shaken(kind(config))


@pytest.mark.parametrize("name", ["llava", "qwen2_5", "internvl"])
def test_weights_of_4_bits(name: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = wider(name)
    model.save_pretrained(tmp_path)
    few = loaded(tmp_path, quantization_config=transformers.BitsAndBytesConfig(load_in_4bit=True))
    check_quantized(few, inputs(MODELS[name](), ROWS))
