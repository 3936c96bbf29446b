"""Every layout of a full checkpoint loads to the same model."""

import json
import shutil
from pathlib import Path

import checkpoints
import pytest
import torch
from checkpoints import TINY, answer, copied, load, store, tensors, with_tower
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.model import LlavaLlamaForCausalLM
from llava.model.multimodal_encoder.builder import build_image_processor, locate_tower
from llava.reduction import create


@pytest.fixture(scope="module")
def wanted() -> torch.Tensor:
    return answer(load(TINY))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("model_type", ["llava", "llava_llama"])
def test_files_and_family_names(tmp_path: Path, wanted: torch.Tensor, kind: str, shards: int, model_type: str) -> None:
    folder = copied(tmp_path / "llava-tiny", model_type=model_type)
    store(folder, tensors(folder), kind, shards)
    assert torch.equal(answer(load(folder)), wanted)


def test_tower_at_an_absolute_path(tmp_path: Path, wanted: torch.Tensor) -> None:
    shutil.move(copied(tmp_path / "llava") / "vision_tower", tmp_path / "clip")
    checkpoints.reconfigure(tmp_path / "llava", mm_vision_tower=str(tmp_path / "clip"))
    assert torch.equal(answer(load(tmp_path / "llava")), wanted)


def test_tower_inside_the_checkpoint_wins_over_the_folder_beside_it(tmp_path: Path, wanted: torch.Tensor) -> None:
    folder = copied(tmp_path / "llava")
    weights = with_tower(folder)
    store(folder, weights)
    (folder / "vision_tower/model.safetensors").unlink()
    assert torch.equal(answer(load(folder)), wanted)


def test_published_tower_inside_a_checkpoint_needs_no_hub(tmp_path: Path) -> None:
    """LLaVA-1.6 brings CLIP-L's weights along; its geometry is known by name."""
    for name, side in (("openai/clip-vit-large-patch14-336", 336), ("openai/clip-vit-large-patch14", 224)):
        source = locate_tower(name, str(tmp_path))
        config = source.config
        assert build_image_processor(source).size["shortest_edge"] == side
        assert (config.image_size, config.hidden_size, config.num_hidden_layers) == (side, 1024, 24)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_is_that_of_every_weight(dtype: torch.dtype) -> None:
    model = load(TINY, torch_dtype=dtype).model
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert not model.training


def test_dtype_defaults_to_float32_on_a_cpu() -> None:
    assert load(TINY, torch_dtype=None).model.dtype == torch.float32


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_of_llm_and_tower(wanted: torch.Tensor, attention: str) -> None:
    loaded = load(TINY, attn_implementation=attention)
    assert loaded.model.config._attn_implementation == attention
    assert loaded.model.get_vision_tower().config._attn_implementation == attention
    torch.testing.assert_close(answer(loaded), wanted, atol=1e-4, rtol=0)


def test_what_is_returned() -> None:
    loaded = load(TINY, reduction=create("visionzip", dominant=54, contextual=10))
    assert isinstance(loaded.model, LlavaLlamaForCausalLM)
    assert isinstance(loaded.processor, CLIPImageProcessorPil)
    assert loaded.processor.crop_size["height"] == 336
    assert loaded.context_len == 2048
    assert loaded.model.reduction == create("visionzip", dominant=54, contextual=10)
    assert load(TINY).model.reduction == create("none")


def test_context_length_is_the_configured_one(tmp_path: Path) -> None:
    assert load(copied(tmp_path / "llava", max_sequence_length=4096)).context_len == 4096


def test_buffers_of_old_dumps_are_passed_over(tmp_path: Path, wanted: torch.Tensor) -> None:
    folder = copied(tmp_path / "llava")
    old = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(4) for n in range(12)}
    store(folder, tensors(folder) | old, "bin")
    assert torch.equal(answer(load(folder)), wanted)


def test_preprocessor_in_the_checkpoint_serves_a_tower_without_one(tmp_path: Path, wanted: torch.Tensor) -> None:
    folder = copied(tmp_path / "llava")
    shutil.move(folder / "vision_tower/preprocessor_config.json", folder)
    assert torch.equal(answer(load(folder)), wanted)


def test_saved_and_loaded_again(tmp_path: Path, wanted: torch.Tensor) -> None:
    loaded = load(TINY)
    loaded.model.save_pretrained(tmp_path / "again")
    loaded.tokenizer.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text())["model_type"] == "llava_llama"
    assert torch.equal(answer(load(tmp_path / "again")), wanted)


@pytest.mark.parametrize(("start_end", "patch", "added"), [(True, False, 2), (False, True, 1), (True, None, 3)])
def test_llavas_own_tokens_are_added_where_the_configuration_asks(
    tmp_path: Path, start_end: bool, patch: bool | None, added: int
) -> None:
    """By default, that is without `mm_use_im_patch_token`, <im_patch> is added."""
    folder = copied(tmp_path / "llava", mm_use_im_start_end=start_end, mm_use_im_patch_token=patch)
    loaded, before = load(folder), load(TINY)
    assert len(loaded.tokenizer) == len(before.tokenizer) + added
    names = (["<im_patch>"] if patch is not False else []) + (["<im_start>", "<im_end>"] if start_end else [])
    assert [loaded.tokenizer.convert_tokens_to_ids(name) for name in names] == list(
        range(len(before.tokenizer), len(before.tokenizer) + added)
    )
    assert loaded.model.get_input_embeddings().num_embeddings >= len(loaded.tokenizer)
    old = before.model.get_input_embeddings().weight
    assert torch.equal(loaded.model.get_input_embeddings().weight[: len(old)], old)


@pytest.mark.parametrize("kind", ["linear", "mlp3x_gelu"])
def test_projectors(tmp_path: Path, kind: str) -> None:
    folder = copied(tmp_path / "llava", mm_projector_type=kind)
    weights = {name: tensor for name, tensor in tensors(folder).items() if "mm_projector" not in name}
    generator, config = torch.Generator().manual_seed(0), json.loads((folder / "config.json").read_text())
    width, places = config["hidden_size"], ([""] if kind == "linear" else ["0.", "2.", "4."])
    for number, place in enumerate(places):
        wide = config["mm_hidden_size"] if number == 0 else width
        weights[f"model.mm_projector.{place}weight"] = torch.randn(width, wide, generator=generator).half()
        weights[f"model.mm_projector.{place}bias"] = torch.randn(width, generator=generator).half()
    store(folder, weights)
    features = torch.randn(1, 5, config["mm_hidden_size"])
    by_hand = features
    for number, place in enumerate(places):
        matrix, bias = (weights[f"model.mm_projector.{place}{part}"].float() for part in ("weight", "bias"))
        by_hand = torch.nn.functional.gelu(by_hand) if number else by_hand
        by_hand = by_hand @ matrix.T + bias
    with torch.no_grad():
        got = load(folder).model.get_model().mm_projector(features)
    torch.testing.assert_close(got, by_hand, atol=1e-4, rtol=1e-5)
