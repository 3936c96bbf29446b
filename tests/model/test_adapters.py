"""LoRA and projector-only checkpoints on a base language model."""

import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import TINY, answer, load, plain_base, projector, store, tensors, trained_folder
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from llava.errors import InputError

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return plain_base(tmp_path / "vicuna")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return trained_folder(tmp_path / "llava-out")


def merged(changes: dict[str, torch.Tensor], folder: Path) -> torch.Tensor:
    """The answer of a full checkpoint that holds these tensors."""
    shutil.copytree(TINY, folder)
    store(folder, tensors(TINY) | changes)
    return answer(load(folder))


@pytest.mark.parametrize("prefix", ["", "base_model.", "model."])
def test_projector_only(tmp_path: Path, base: Path, trained: Path, prefix: str) -> None:
    torch.save({prefix + name: tensor for name, tensor in projector().items()}, trained / "mm_projector.bin")
    got = answer(load(trained, base, name="llava-pretrain"))
    assert torch.equal(got, merged(projector(), tmp_path / "llava-full"))


def adapter(folder: Path, base: Path) -> dict[str, torch.Tensor]:
    """Write a LoRA adapter with random weights; returns the base's matrices with it added, computed by hand."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM"))
    generator, added = torch.Generator().manual_seed(6), {}
    with torch.no_grad():
        for name, module in tuned.named_modules():
            if not hasattr(module, "lora_A"):
                continue
            for matrix in (module.lora_A["default"].weight, module.lora_B["default"].weight):
                matrix.copy_(torch.randn(matrix.shape, generator=generator) * 0.1)
            down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
            added[name.removeprefix("base_model.model.") + ".weight"] = module.base_layer.weight + 8 / 4 * up @ down
    tuned.save_pretrained(folder)
    assert isinstance(model.config, LlamaConfig) and len(added) == 12 * 7
    return {name: tensor.clone() for name, tensor in added.items()}


@pytest.mark.parametrize("prefix", ["base_model.model.", "base_model.", ""])
def test_lora_is_merged(tmp_path: Path, base: Path, trained: Path, prefix: str) -> None:
    changes = adapter(trained, base)
    extra = {prefix + name: tensor for name, tensor in projector().items()}
    torch.save(extra, trained / "non_lora_trainables.bin")
    loaded = load(trained, base, name="llava-v1.5-7b-lora")
    assert not any("lora" in name for name, _ in loaded.model.named_modules())
    got = answer(loaded)
    torch.testing.assert_close(got, merged(changes | projector(), tmp_path / "llava-full"), atol=1e-4, rtol=0)
    assert not torch.allclose(got, merged(projector(), tmp_path / "llava-without"), atol=1e-2)


def test_lora_reads_safetensors_and_bin(tmp_path: Path, base: Path, trained: Path) -> None:
    adapter(trained, base)
    torch.save(projector(), trained / "non_lora_trainables.bin")
    want = answer(load(trained, base, name="llava-lora"))
    from safetensors.torch import load_file

    torch.save(load_file(trained / "adapter_model.safetensors"), trained / "adapter_model.bin")
    (trained / "adapter_model.safetensors").unlink()
    assert torch.equal(answer(load(trained, base, name="llava-lora")), want)


def _no_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def _no_adapter_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def _no_projector(folder: Path) -> None:
    torch.save({}, folder / "non_lora_trainables.bin")


def _foreign(folder: Path) -> None:
    torch.save(projector() | {"model.resampler.weight": torch.zeros(1)}, folder / "non_lora_trainables.bin")


def _misshapen(folder: Path) -> None:
    torch.save(projector() | {"model.mm_projector.0.bias": torch.zeros(3)}, folder / "non_lora_trainables.bin")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "non_lora_trainables.bin").unlink(), "must hold non_lora_trainables.bin"),
        (_no_adapter, "a LoRA adapter must be readable"),
        (_no_adapter_config, "a LoRA adapter must be readable"),
        (_no_projector, "4 missing in .*model.mm_projector.0.bias"),
        (_foreign, "1 unexpected in .*: model.resampler.weight"),
        (_misshapen, r"1 of a wrong shape in .*: model.mm_projector.0.bias is \(3,\)"),
    ],
)
def test_incomplete_lora_checkpoints_are_refused(base: Path, trained: Path, spoil: object, complaint: str) -> None:
    adapter(trained, base)
    torch.save(projector(), trained / "non_lora_trainables.bin")
    spoil(trained)
    with pytest.raises(InputError, match=complaint) as refused:
        load(trained, base, name="llava-lora")
    assert "\n" not in str(refused.value)


def test_incomplete_projector_checkpoints_are_refused(base: Path, trained: Path) -> None:
    with pytest.raises(InputError, match="must hold mm_projector.bin"):
        load(trained, base, name="llava-pretrain")
    half = dict(list(projector().items())[:2])
    torch.save(half, trained / "mm_projector.bin")
    with pytest.raises(InputError, match="2 missing in .*: model.mm_projector"):
        load(trained, base, name="llava-pretrain")


def test_base_that_is_not_there(tmp_path: Path, trained: Path) -> None:
    torch.save(projector(), trained / "mm_projector.bin")
    with pytest.raises(InputError, match="a checkpoint folder must exist"):
        load(trained, tmp_path / "nowhere", name="llava-pretrain")
