"""transformers' own way to load and save: whole models, under LLaVA's names, with the same pixels."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoints import (
    NESTED,
    SHAPES,
    TINY,
    answer,
    copied,
    load,
    lora_on_base,
    plain_base,
    projector,
    reconfigure,
    store,
    tensors,
    with_tower,
)
from conftest import Loaded
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from llava.errors import InputError
from llava.mm_utils import process_images
from llava.model import LlavaLlamaForCausalLM
from llava.model.builder import load_tokenizer

CLASSES = [LlavaLlamaForCausalLM, AutoModelForCausalLM]


@pytest.fixture(scope="module")
def plain() -> Loaded:
    return load(TINY)


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    """True where every weight is equal."""
    own, wanted = model.state_dict(), other.state_dict()
    return own.keys() == wanted.keys() and all(torch.equal(own[name], wanted[name]) for name in own)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("where", ["relative", "absolute", "inside"])
def test_the_tower_has_its_weights(tmp_path: Path, plain: Loaded, kind: Any, where: str) -> None:
    folder = copied(tmp_path / "llava")
    if where == "absolute":
        shutil.move(folder / "vision_tower", tmp_path / "clip")
        reconfigure(folder, mm_vision_tower=str(tmp_path / "clip"))
    if where == "inside":
        store(folder, with_tower(folder), "bin", shards=2)
        (folder / "vision_tower/model.safetensors").unlink()
    model = kind.from_pretrained(folder, dtype=torch.float32)
    assert same(model, plain.model) and not model.training
    assert model.get_vision_tower().is_loaded and model.name_or_path == str(folder)
    assert model.get_vision_tower().image_processor.crop_size["height"] == 336
    assert model.generation_config.eos_token_id == 2
    assert torch.equal(answer(Loaded(plain.tokenizer, model, plain.processor, 0)), answer(plain))


def test_precision_is_the_checkpoints_unless_it_is_given() -> None:
    for wanted, settings in (
        (torch.float16, {}),
        (torch.float16, {"dtype": "auto"}),
        (torch.bfloat16, {"torch_dtype": "bfloat16"}),
        (torch.float32, {"dtype": torch.float32}),
    ):
        assert LlavaLlamaForCausalLM.from_pretrained(TINY, **settings).dtype == wanted


def test_settings_and_a_configuration(tmp_path: Path) -> None:
    model, info = LlavaLlamaForCausalLM.from_pretrained(TINY, mm_vision_select_layer=-3, output_loading_info=True)
    assert model.get_vision_tower().select_layer == -3 and not info["missing_keys"]
    config = model.config
    config.mm_vision_select_layer = -4
    assert LlavaLlamaForCausalLM.from_pretrained(TINY, config=config).get_vision_tower().select_layer == -4
    with pytest.raises(InputError, match="'mm_vision_select_layer' 'x', expected a whole number"):
        LlavaLlamaForCausalLM.from_pretrained(TINY, mm_vision_select_layer="x")


def test_what_does_not_load(tmp_path: Path) -> None:
    _, adapter = lora_on_base(tmp_path)
    with pytest.raises(InputError, match="a LoRA adapter is no model by itself"):
        LlavaLlamaForCausalLM.from_pretrained(adapter)
    folder = copied(tmp_path / "llava")
    store(folder, {name: tensor for name, tensor in tensors(folder).items() if "mm_projector" not in name})
    with pytest.raises(InputError, match="4 missing in"):
        LlavaLlamaForCausalLM.from_pretrained(folder)
    with pytest.raises(InputError, match="unknown model family 'gpt2'"):
        reconfigure(folder, model_type="gpt2")
        LlavaLlamaForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("source", [TINY, SHAPES], ids=["tiny", "shapes"])
@pytest.mark.parametrize("limit", ["50GB", "300KB"])
def test_round_trip_of_the_model_alone(tmp_path: Path, source: Path, limit: str) -> None:
    """Weights, names as LLaVA writes them, and the settings by which pictures become pixels."""
    before = load(source)
    before.model.save_pretrained(tmp_path / "again", max_shard_size=limit)
    before.tokenizer.save_pretrained(tmp_path / "again")
    names: set[str] = set()
    for file in (tmp_path / "again").glob("*.safetensors"):
        with safe_open(file, "pt") as held:
            names |= set(held.keys())
    in_tower = [name for name in names if "vision_tower" in name]
    assert in_tower and all(name.startswith(NESTED) for name in in_tower)
    assert names - set(in_tower) == set(tensors(source))
    saved = json.loads((tmp_path / "again/config.json").read_text())
    assert saved["model_type"] == "llava_llama" and saved["architectures"] == ["LlavaLlamaForCausalLM"]
    after = load(tmp_path / "again")
    assert same(before.model, after.model)
    picture = Image.radial_gradient("L").resize((150, 90)).convert("RGB")
    pixels = [process_images([picture], own.processor, own.model.config) for own in (before, after)]
    assert torch.equal(*pixels)
    direct = LlavaLlamaForCausalLM.from_pretrained(tmp_path / "again")
    assert torch.equal(direct.get_vision_tower()(pixels[0]), before.model.get_vision_tower()(pixels[0]))
    direct.save_pretrained(tmp_path / "twice")
    assert same(load(tmp_path / "again").model, LlavaLlamaForCausalLM.from_pretrained(tmp_path / "twice"))


def test_a_model_made_here_is_saved_under_llavas_names(tmp_path: Path, plain: Loaded) -> None:
    model = LlavaLlamaForCausalLM(plain.model.config)
    assert not model.get_vision_tower().is_loaded
    model.save_pretrained(tmp_path / "made")
    with safe_open(tmp_path / "made/model.safetensors", "pt") as held:
        assert NESTED + "embeddings.class_embedding" in held.keys()  # noqa: SIM118


def test_generation_settings_that_transformers_would_not_write(tmp_path: Path) -> None:
    """Vicuna's: a temperature and no do_sample. They are kept as they are."""
    folder = copied(tmp_path / "llava")
    vicuna = dict(temperature=0.9, top_p=0.6, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    (folder / "generation_config.json").write_text(json.dumps(vicuna))
    model = LlavaLlamaForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    model.generation_config.max_new_tokens = 5
    model.save_pretrained(tmp_path / "changed")
    for name, wanted in (("again", vicuna), ("changed", vicuna | {"max_new_tokens": 5})):
        saved = json.loads((tmp_path / name / "generation_config.json").read_text())
        assert saved.items() >= wanted.items() and not saved.get("do_sample")


def arguments(**changes: Any) -> SimpleNamespace:
    """What LLaVA's training gives to `initialize_vision_modules`."""
    given = dict(
        vision_tower=str(TINY / "vision_tower"),
        mm_vision_select_layer=-2,
        mm_vision_select_feature="patch",
        pretrain_mm_mlp_adapter=None,
        mm_patch_merge_type="flat",
        mm_projector_type="mlp2x_gelu",
        mm_use_im_patch_token=False,
        mm_use_im_start_end=False,
        tune_mm_mlp_adapter=False,
    )
    return SimpleNamespace(**(given | changes))


def test_a_language_model_gets_eyes(tmp_path: Path, plain: Loaded) -> None:
    base = plain_base(tmp_path / "vicuna")
    torch.save(projector(), tmp_path / "mm_projector.bin")
    model = LlavaLlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert model.get_vision_tower() is None
    model.get_model().initialize_vision_modules(
        arguments(pretrain_mm_mlp_adapter=str(tmp_path / "mm_projector.bin"), mm_patch_merge_type="spatial_unpad")
    )
    tower = model.get_vision_tower()
    assert tower.is_loaded and not any(weight.requires_grad for weight in tower.parameters())
    assert model.get_model().image_newline.shape == (48,)
    assert all(torch.equal(model.state_dict()[name], tensor.float()) for name, tensor in projector().items())
    wanted = dict(use_mm_proj=True, mm_projector_type="mlp2x_gelu", mm_hidden_size=32, mm_vision_select_layer=-2)
    assert {name: getattr(model.config, name) for name in wanted} == wanted
    model.config.mm_patch_merge_type, model.config.mm_use_im_patch_token = "flat", False
    del model.get_model().image_newline
    model.eval().save_pretrained(tmp_path / "llava")
    plain.tokenizer.save_pretrained(tmp_path / "llava")
    again = load(tmp_path / "llava")
    assert torch.equal(answer(again), answer(Loaded(plain.tokenizer, model, plain.processor, 0)))


def test_the_projector_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save({"model.mm_projector.weight": torch.zeros(48, 32)}, tmp_path / "mm_projector.bin")
    model = LlavaLlamaForCausalLM.from_pretrained(plain_base(tmp_path / "vicuna"))
    with pytest.raises(InputError, match="1 unexpected in .*mm_projector.bin': weight"):
        model.get_model().initialize_vision_modules(
            arguments(pretrain_mm_mlp_adapter=str(tmp_path / "mm_projector.bin"))
        )


def test_llavas_tokens(tmp_path: Path) -> None:
    model, tokenizer = LlavaLlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32), load_tokenizer(str(TINY))
    old = model.get_input_embeddings().weight.detach().clone()
    size = len(tokenizer)
    model.resize_token_embeddings(size)
    model.initialize_vision_tokenizer(arguments(mm_use_im_start_end=True, tune_mm_mlp_adapter=True), tokenizer)
    table = model.get_input_embeddings().weight
    assert len(tokenizer) == len(table) == model.config.vocab_size == size + 2
    torch.testing.assert_close(table[-2:], old[:size].mean(dim=0).expand(2, -1))
    assert table.requires_grad and not model.get_output_embeddings().weight.requires_grad
    brought = torch.randn(2, 48)
    torch.save({"model.embed_tokens.weight": brought}, tmp_path / "mm_projector.bin")
    again, tokenizer = LlavaLlamaForCausalLM.from_pretrained(TINY, dtype=torch.float32), load_tokenizer(str(TINY))
    given = arguments(mm_use_im_start_end=True, pretrain_mm_mlp_adapter=str(tmp_path / "mm_projector.bin"))
    again.initialize_vision_tokenizer(given, tokenizer)
    assert torch.equal(again.get_input_embeddings().weight[-2:], brought)
    torch.save({"model.embed_tokens.weight": torch.randn(5, 48)}, tmp_path / "mm_projector.bin")
    again, tokenizer = LlavaLlamaForCausalLM.from_pretrained(TINY), load_tokenizer(str(TINY))
    with pytest.raises(InputError, match=r"has \(5, 48\) as model.embed_tokens.weight, expected \(2, 48\)"):
        again.initialize_vision_tokenizer(given, tokenizer)
