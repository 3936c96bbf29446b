"""Every language model through the loader: saved and read again, quantised, on disk, with an adapter, or refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import load, reconfigure, tensors
from conftest import PARITY, Loaded
from language_models import FAMILIES, family_model, pictures
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from llava.errors import InputError
from llava.model import LlavaMistralForCausalLM, LlavaMptConfig, builder
from llava.model.checkpoint import read_config
from llava.reduction.schedule import DecoderShape

NAMES = ("llama", "mistral-window", "qwen", "mpt")
FAMILY = pytest.mark.parametrize("family", NAMES)
# Wide enough for bitsandbytes: its 4-bit matrices on a CPU have a multiple of 32 rows and of 64 columns.
WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 700}
WIDE_MPT: dict[str, Any] = {"d_model": 128, "n_heads": 4, "n_layers": 3, "vocab_size": 700}
PICTURES = {"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
PICTURES |= {"do_resize": True, "do_normalize": True, "do_rescale": True, "resample": 3, "rescale_factor": 1 / 255}
PICTURES |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_processor_type": "CLIPImageProcessor"}
GREEDY = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 4}
IDS = torch.tensor([[1, 300, -200, 13, 17, 650, 4]])


def checkpoint(folder: Path, family: str) -> Path:
    """A folder in LLaVA's layout with a small model of random weights, its tower inside."""
    model = family_model(family, **(WIDE_MPT if family == "mpt" else WIDE))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(PARITY / "llava-tiny-12l" / name, folder)
    reconfigure(folder, mm_use_im_patch_token=False)
    return folder


def answer(loaded: Loaded) -> torch.Tensor:
    """Logits (n, V) of a prompt with a picture and what is written after it; equal if everything was loaded."""
    shown = pictures(loaded.model, 1)
    arguments = {**GREEDY, "output_logits": True, "return_dict_in_generate": True}
    return torch.cat(loaded.model.generate(IDS, images=[shown[0].to(loaded.model.dtype)], **arguments).logits)


@FAMILY
def test_saved_and_read_again_by_every_way(tmp_path: Path, family: str) -> None:
    folder = checkpoint(tmp_path / "llava", family)
    decoder = "transformer" if family == "mpt" else "model"
    held = tensors(folder)
    tied = family in ("mpt", "qwen")
    assert ("lm_head.weight" in held) is not tied
    assert all(name.startswith(f"{decoder}.") for name in held if name != "lm_head.weight")
    assert any(name.startswith(f"{decoder}.vision_tower.vision_tower.vision_model.") for name in held)
    first = load(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [type(first.model).__name__]
    wanted = answer(first)
    for kind in (type(first.model), AutoModelForCausalLM):
        again = kind.from_pretrained(folder)
        assert type(again) is type(first.model)
        assert torch.equal(answer(first._replace(model=again)), wanted)
    first.model.save_pretrained(tmp_path / "twice")
    assert {name: shape.shape for name, shape in tensors(tmp_path / "twice").items()} == {
        name: shape.shape for name, shape in held.items()
    }
    assert torch.equal(answer(first._replace(model=type(first.model).from_pretrained(tmp_path / "twice"))), wanted)


@FAMILY
@pytest.mark.parametrize("all_on_disk", [True, False])
def test_weights_on_disk_between_calls(tmp_path: Path, family: str, all_on_disk: bool) -> None:
    folder = checkpoint(tmp_path / "llava", family)
    wanted = answer(load(folder))
    memory = 400_000 if all_on_disk else 1_500_000 if family == "mpt" else 900_000  # or the embeddings fit, no more
    arguments = {"device": "cuda", "device_map": "auto", "max_memory": {"cpu": memory}}
    try:
        part = load(folder, offload_folder=str(tmp_path / "disk"), **arguments)
    except InputError as error:  # of older releases of transformers
        assert all_on_disk and "must leave something in memory" in str(error)
        return
    assert any(weight.is_meta for weight in part.model.parameters())
    assert torch.equal(answer(part), wanted)


@FAMILY
@pytest.mark.parametrize("bits", ["load_8bit", "load_4bit"])
def test_only_the_decoders_matrices_are_quantised(tmp_path: Path, family: str, bits: str) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    folder = checkpoint(tmp_path / "llava", family)
    loaded = load(folder, **{bits: True}, torch_dtype=None)
    kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    quantised = [name for name, module in loaded.model.named_modules() if isinstance(module, kinds)]
    assert len(quantised) == 3 * (4 if family == "mpt" else 7)
    assert all(".layers." in name or ".blocks." in name for name in quantised)
    assert not any("vision_tower" in name or "projector" in name for name in quantised)
    loaded.model.save_pretrained(tmp_path / "saved")
    loaded.tokenizer.save_pretrained(tmp_path / "saved")
    plain, got = answer(load(folder)), answer(loaded).float()
    assert 0 < (plain[0] - got[0]).std() < plain[0].std()
    assert torch.equal(answer(load(tmp_path / "saved", torch_dtype=None)).float(), got)


def base_of(folder: Path, family: str, whole: Path) -> Path:
    """The plain language model of a checkpoint, as it is published: without tower and projector."""
    model = load(whole).model
    host = FAMILIES[family][1]
    settings = {name: value for name, value in FAMILIES[family][2].items()}
    plain = host(host.config_class(**settings | (WIDE_MPT if family == "mpt" else WIDE)))
    own = {name: tensor for name, tensor in model.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(own)
    plain.save_pretrained(folder)
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(PARITY / "llava-tiny-12l" / name, folder)
    return folder


@FAMILY
def test_an_adapter_and_a_projector_on_the_plain_model(tmp_path: Path, family: str) -> None:
    whole = checkpoint(tmp_path / "llava", family)
    base, trained = base_of(tmp_path / "base", family, whole), tmp_path / "llava-lora"
    trained.mkdir()
    (trained / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    shutil.copy(whole / "config.json", trained)
    held, decoder = tensors(whole), "transformer" if family == "mpt" else "model"
    beside = {f"base_model.model.{name}": tensor for name, tensor in held.items() if f"{decoder}.layers" not in name}
    beside = {name: tensor for name, tensor in beside.items() if "mm_projector" in name or "vision_tower" in name}
    torch.save(beside, trained / "non_lora_trainables.bin")
    targets = ["Wqkv", "down_proj"] if family == "mpt" else ["q_proj", "down_proj"]
    language = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(language, LoraConfig(r=2, lora_alpha=4, target_modules=targets, task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(6)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            weight.data.normal_(std=0.1, generator=generator)
    tuned.save_pretrained(trained)
    got = load(trained, base, name="llava-lora")
    merged = tuned.merge_and_unload().state_dict()
    own = got.model.state_dict()
    assert all(torch.allclose(own[name], tensor, atol=1e-6) for name, tensor in merged.items())
    (trained / "adapter_config.json").unlink()
    (trained / "adapter_model.safetensors").unlink()
    (trained / "non_lora_trainables.bin").rename(trained / "mm_projector.bin")
    projected = load(trained, base, name="llava-pretrain")
    assert torch.equal(answer(projected), answer(load(whole)))


def test_a_class_reads_its_own_family_and_no_other(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "llava", "llama")
    with pytest.raises(
        InputError, match="LlavaMistralForCausalLM loads LLaVA on Mistral: got model_type 'llava_llama'"
    ):
        LlavaMistralForCausalLM.from_pretrained(folder)


REFUSED = {
    "llava_gemma": "LLaVA on Gemma; use one on Llama-3",
    "llava_mixtral": "LLaVA on Mixtral; use one on Mistral or Yi",
    "llava_next_video": r"the transformers layout \(llava-hf\) .* use the lmms-lab/ checkpoint of the same name",
    "mistral": "Mistral alone has no eyes; give it as --model-base",
    "gpt2": "expected model_type llava, llava_llama, llava_mistral, llava_qwen, llava_mpt; use a liuhaotian/ or",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused_by_name_with_what_works(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(InputError, match=REFUSED[kind]):
        builder.load_pretrained_model(str(tmp_path), None, "llava", device="cpu")


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("mpt", {"attn_config": {"alibi": False}}, "'attn_config' .*expected an object with alibi"),
        ("mpt", {"attn_config": {"qk_ln": True}}, "'attn_config'"),
        ("mpt", {"expansion_ratio": 2}, "'expansion_ratio' 2, expected one of 4"),
        ("mpt", {"d_model": 48}, "hidden_size is 32 and d_model 48"),
        ("mpt", {"n_heads": 5}, "hidden_size 32 is no multiple of num_attention_heads 5"),
        ("mistral-next", {"sliding_window": 0}, "'sliding_window' 0, expected a whole number from 1"),
        (
            "next-qwen-clip",
            {"layer_types": ["full_attention"]},
            "layer_types names 1 layers and num_hidden_layers is 3",
        ),
        ("next-qwen-clip", {"layer_types": ["sliding_attention"] * 3}, "and there is no sliding_window"),
        ("next-qwen-clip", {"use_sliding_window": "no"}, "'use_sliding_window' 'no', expected true or false"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, name: str, changes: dict[str, Any], complaint: str) -> None:
    shutil.copy(PARITY / "families" / name / "config.json", tmp_path)
    read_config(str(tmp_path))
    reconfigure(tmp_path, **changes)
    with pytest.raises(InputError, match=complaint):
        read_config(str(tmp_path))


def test_mpts_sizes_by_the_names_that_others_ask_for() -> None:
    config = read_config(str(PARITY / "families/mpt"))
    asked = ("max_position_embeddings", "num_key_value_heads", "intermediate_size", "hidden_size", "num_hidden_layers")
    assert [getattr(config, name) for name in asked] == [2048, 4, 128, 32, 4]
    shape = DecoderShape.of(config)
    assert shape.layer_flops(1) == 2 * (4 * 32**2 + 2 * 32 * 128) + 4 * 32
    made = LlavaMptConfig(n_heads=8, max_seq_len=99)
    assert not {"max_position_embeddings", "num_key_value_heads", "intermediate_size"} & set(made.to_dict())


def test_llamas_names_in_an_mpts_file_mean_nothing(tmp_path: Path) -> None:
    shutil.copy(PARITY / "families/mpt/config.json", tmp_path)
    reconfigure(tmp_path, num_key_value_heads=1, max_position_embeddings=9, intermediate_size=7)
    config = read_config(str(tmp_path))
    assert (config.n_heads, config.max_seq_len, config.intermediate_size) == (4, 2048, 128)
