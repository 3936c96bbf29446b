"""Names that other programs import from LLaVA, with the arguments they pass."""

import importlib
import inspect

import pytest

NAMES = {
    "llava.constants": "IGNORE_INDEX IMAGE_TOKEN_INDEX DEFAULT_IMAGE_TOKEN DEFAULT_IM_START_TOKEN DEFAULT_IM_END_TOKEN "
    "DEFAULT_IMAGE_PATCH_TOKEN IMAGE_PLACEHOLDER",
    "llava.conversation": "conv_templates Conversation SeparatorStyle default_conversation",
    "llava.mm_utils": "process_images tokenizer_image_token get_model_name_from_path KeywordsStoppingCriteria "
    "expand2square",
    "llava.utils": "disable_torch_init",
    "llava.model.builder": "load_pretrained_model",
    "llava.model": "LlavaLlamaForCausalLM",
    "llava.model.language_model.llava_llama": "LlavaConfig LlavaLlamaForCausalLM",
    "llava.model.llava_arch": "LlavaMetaForCausalLM",
    "llava.model.multimodal_encoder.builder": "build_vision_tower",
    "llava.model.multimodal_projector.builder": "build_vision_projector",
    "llava.eval.run_llava": "eval_model",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def test_loader_and_generate_take_llavas_arguments() -> None:
    from llava.model import LlavaLlamaForCausalLM
    from llava.model.builder import load_pretrained_model

    signature = inspect.signature(load_pretrained_model).parameters
    first = ["model_path", "model_base", "model_name", "load_8bit", "load_4bit", "device_map", "device"]
    assert list(signature)[:8] == [*first, "use_flash_attn"]
    assert [signature[name].default for name in list(signature)[3:8]] == [False, False, "auto", "cuda", False]
    generate = inspect.signature(LlavaLlamaForCausalLM.generate).parameters
    assert list(generate)[1] == "input_ids" and {"images", "image_sizes", "attention_mask", "kwargs"} <= set(generate)


def test_values_are_llavas() -> None:
    from llava import constants

    assert (constants.IGNORE_INDEX, constants.IMAGE_TOKEN_INDEX) == (-100, -200)
    assert constants.DEFAULT_IMAGE_TOKEN == "<image>"
