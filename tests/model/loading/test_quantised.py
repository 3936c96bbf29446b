"""8 and 4 bits: the language model's matrices and nothing else, in every layout."""

from pathlib import Path

import pytest
import torch
from checkpoints import (
    SHAPES,
    answer,
    copied,
    load,
    lora_on_base,
    projector,
    projector_on_base,
    reconfigure,
    store,
    with_tower,
)
from conftest import Loaded

from llava.errors import InputError

pytest.importorskip("bitsandbytes")

BITS = ["load_8bit", "load_4bit"]
PLAIN = ("vision_tower", "mm_projector", "lm_head")


@pytest.fixture(scope="module")
def plain() -> Loaded:
    return load(SHAPES)


@pytest.fixture(params=["beside", "inside"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The tiny checkpoint with its tower in a folder of its own, and among its weights."""
    made = copied(tmp_path / "llava", SHAPES)
    if request.param == "inside":
        store(made, with_tower(made))
        (made / "vision_tower/model.safetensors").unlink()
    return made


def dequantised(loaded: Loaded, bits: str) -> dict[str, torch.Tensor]:
    """The matrices of the decoder's layers as bitsandbytes holds them, as numbers."""
    import bitsandbytes as bnb

    matrices = {}
    for name, module in loaded.model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            matrices[name] = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bnb.nn.Linear8bitLt):
            matrices[name] = module.weight.CB.float() * module.weight.SCB[:, None] / 127
    return matrices


@pytest.mark.parametrize("bits", BITS)
def test_tower_and_projector_stay_as_they_are(folder: Path, plain: Loaded, bits: str) -> None:
    loaded = load(folder, **{bits: True}, torch_dtype=None)
    own, wanted = loaded.model.state_dict(), plain.model.state_dict()
    untouched = [name for name in wanted if any(part in name for part in PLAIN) or "norm" in name]
    assert len(untouched) > 100 and all(torch.equal(own[name], wanted[name]) for name in untouched)
    matrices = dequantised(loaded, bits)
    assert len(matrices) == 8 * 7 and all(name.startswith("model.layers.") for name in matrices)
    for name, matrix in matrices.items():
        apart = (matrix.float() - wanted[name + ".weight"]).abs().max() / wanted[name + ".weight"].abs().max()
        assert apart < (0.01 if bits == "load_8bit" else 0.3)


@pytest.mark.parametrize("bits", BITS)
def test_answers_are_those_of_the_quantised_numbers(folder: Path, bits: str) -> None:
    """With 4 bits some CPUs compute in bfloat16."""
    loaded, same = load(folder, **{bits: True}), load(folder)
    for name, matrix in dequantised(loaded, bits).items():
        same.model.get_submodule(name).weight.data = matrix.float()
    got, wanted = answer(loaded), answer(same)
    alike = torch.nn.functional.cosine_similarity(got - got.mean(), wanted - wanted.mean()).item()
    assert alike > 0.9999


@pytest.mark.parametrize("bits", BITS)
def test_projector_on_a_quantised_base(tmp_path: Path, bits: str) -> None:
    base, trained = projector_on_base(tmp_path, SHAPES)
    loaded = load(trained, base, name="llava-pretrain", **{bits: True})
    own = loaded.model.state_dict()
    assert all(torch.equal(own[name], tensor.float()) for name, tensor in projector(SHAPES).items())
    assert len(dequantised(loaded, bits)) == 8 * 7
    assert torch.isfinite(answer(loaded)).all()


@pytest.mark.parametrize("bits", BITS)
def test_an_adapter_is_merged_before_it_is_quantised(tmp_path: Path, bits: str) -> None:
    """The same numbers as those of the merged model, saved and quantised."""
    base, trained = lora_on_base(tmp_path, SHAPES)
    merged = load(trained, base, name="llava-my-task")
    merged.model.save_pretrained(tmp_path / "merged")
    merged.tokenizer.save_pretrained(tmp_path / "merged")
    loaded = load(trained, base, name="llava-my-task", **{bits: True})
    assert torch.equal(answer(loaded), answer(load(tmp_path / "merged", **{bits: True})))


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_saved_and_loaded_again(tmp_path: Path, bits: str, asked: bool) -> None:
    """Also after an answer, for which bitsandbytes lays 4-bit weights out anew on a CPU."""
    loaded = load(SHAPES, **{bits: True})
    if asked:
        answer(loaded)
    loaded.model.save_pretrained(tmp_path / "again")
    loaded.tokenizer.save_pretrained(tmp_path / "again")
    again = load(tmp_path / "again")
    assert len(dequantised(again, bits)) == 8 * 7
    assert torch.equal(answer(again), answer(loaded))
    with pytest.raises(InputError, match="the weights of the checkpoint are quantised"):
        load(tmp_path / "again", load_8bit=True)


def test_the_callers_own_settings(plain: Loaded) -> None:
    from transformers import BitsAndBytesConfig

    own = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", llm_int8_skip_modules=["model.layers.0"])
    loaded = load(SHAPES, quantization_config=own)
    assert len(dequantised(loaded, "load_4bit")) == 7 * 7
    assert own.llm_int8_skip_modules == ["model.layers.0"]
    assert torch.equal(loaded.model.get_model().mm_projector[0].weight, plain.model.get_model().mm_projector[0].weight)
    for given in ({"load_in_2bit": True}, {"quant_method": "gptq", "bits": 4}, 3, BitsAndBytesConfig()):
        with pytest.raises(InputError, match="quantization_config must"):
            load(SHAPES, quantization_config=given)


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "awq", "bits": 4, "zero_point": True},
        {"quant_method": "bitsandbytes"},
        {"load_in_4bit": True, "load_in_8bit": True},
        {"load_in_4bit": True, "llm_int8_skip_modules": [1]},
        {"quant_method": "someone/kernel"},
    ],
)
def test_weights_quantised_otherwise_are_refused(tmp_path: Path, settings: dict) -> None:
    folder = copied(tmp_path / "llava", SHAPES)
    reconfigure(folder, quantization_config=settings)
    with pytest.raises(InputError, match="quantization_config.*expected the settings of bitsandbytes in 8 or 4 bits"):
        load(folder)
