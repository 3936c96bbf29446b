"""Load a published LLaVA checkpoint: full, LoRA on a base, or projector on a base."""

import importlib.util
from typing import Any

import torch
from transformers import CLIPVisionModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_PATCH_TOKEN
from llava.errors import InputError
from llava.model.checkpoint import (
    IGNORED_SUFFIXES,
    KEY_MAPPING,
    UNREADABLE,
    check_folder,
    describe_shapes,
    first_line,
    put,
    quantization,
    read_config,
    read_tensors,
    refuse_tensors,
    unreadable,
    without_prefixes,
)
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from llava.model.multimodal_encoder.builder import TowerSource, build_image_processor, locate_tower
from llava.model.tokenizer import load_tokenizer
from llava.reduction import Geometry, Reduction

TOWER = "model.vision_tower.vision_tower."


def load_pretrained_model(
    model_path: str,
    model_base: str | None,
    model_name: str,
    load_8bit: bool = False,
    load_4bit: bool = False,
    device_map: Any = "auto",
    device: str = "cuda",
    use_flash_attn: bool = False,
    reduction: Reduction | None = None,
    torch_dtype: torch.dtype | None = None,
    attn_implementation: str | None = None,
    **kwargs: Any,
) -> tuple[PreTrainedTokenizerBase, LlavaLlamaForCausalLM, Any, int]:
    """LLaVA's loader.

    Args:
        model_path: folder or hub id of a checkpoint in LLaVA's original layout; with `model_base`, of a LoRA adapter
            (with `non_lora_trainables.bin`) or of a projector (`mm_projector.bin`).
        model_base: folder or hub id of the language model those were trained on; None for a full checkpoint.
        model_name: as `llava.mm_utils.get_model_name_from_path` gives it; one with `lora` in it names an adapter.
        load_8bit, load_4bit: quantise the language model with bitsandbytes.
        device_map: transformers' device map, used where `device` is `cuda`; else everything goes to `device`.
        use_flash_attn: the same as `attn_implementation="flash_attention_2"`.
        reduction: the method the model starts with; None keeps every token. `model.reduction = ...` changes it.
        torch_dtype: of all weights; None: float16, or float32 on a CPU.
        attn_implementation: transformers' attention kernel; None: `sdpa`.
        kwargs: passed to transformers' `from_pretrained`.

    Returns:
        tokenizer, model (in evaluation mode), image processor, context length.

    Raises:
        InputError: for a checkpoint that cannot be what it says, naming the file or the tensors; before weights are
            read where it can be known before.
    """
    config = read_config(model_path)
    is_lora = model_base is not None and "lora" in model_name.lower()
    if model_base is None and "lora" in model_name.lower():
        raise InputError(f"a LoRA checkpoint needs its base: got '{model_path}' alone; give model_base (--model-base)")
    source = prepare_tower(config, model_path)
    if reduction is not None:
        reduction.check(model_geometry(config))
    dtype = torch_dtype or (torch.float32 if str(device) == "cpu" else torch.float16)
    settings = dict(
        config=config,
        dtype=dtype,
        device_map=device_map if str(device) == "cuda" else {"": device},
        attn_implementation=attn_implementation or ("flash_attention_2" if use_flash_attn else "sdpa"),
        quantization_config=quantization(load_8bit, load_4bit, dtype),
        **kwargs,
    )

    weights = model_base if model_base is not None else model_path
    check_folder(weights)
    tokenizer = load_tokenizer(weights)
    model, missing = _read_weights(weights, settings)
    _fit_vocabulary(model, tokenizer)
    if is_lora:
        missing -= put(model, without_prefixes(read_tensors(model_path, "non_lora_trainables.bin")), model_path)
        model = _merge_adapter(model, model_path)
    elif model_base is not None:
        projector = read_tensors(model_path, "mm_projector.bin")
        missing -= put(model, without_prefixes(projector), model_path)
    missing -= _fill_tower(model, missing, source, dtype)
    refuse_tensors(weights, missing=sorted(missing))

    model.reduction = reduction
    return tokenizer, model.eval(), build_image_processor(source), getattr(config, "max_sequence_length", 2048)


def prepare_tower(config: LlavaConfig, checkpoint: str) -> TowerSource:
    """Find the vision tower of a checkpoint and write its geometry into the configuration."""
    name = getattr(config, "mm_vision_tower", None)
    if not name:
        raise InputError(f"a LLaVA checkpoint must name its vision tower: '{checkpoint}' has no mm_vision_tower")
    source = locate_tower(name, checkpoint, getattr(config, "mm_vision_config", None))
    config.mm_vision_config = source.config.to_diff_dict()
    return source


def model_geometry(config: LlavaConfig) -> Geometry:
    """What a method must fit into, known from a prepared configuration alone."""
    from transformers import CLIPVisionConfig

    from llava.model.llava_forward import max_views

    vision = CLIPVisionConfig(**config.mm_vision_config)
    return Geometry(config.num_hidden_layers, (vision.image_size // vision.patch_size) ** 2, max_views(config))


def _read_weights(path: str, settings: dict[str, Any]) -> tuple[LlavaLlamaForCausalLM, set[str]]:
    """The model with what a folder holds, and the names of what it does not hold."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report of missing tensors would be half the truth
    try:
        model, info = LlavaLlamaForCausalLM.from_pretrained(
            path, output_loading_info=True, ignore_mismatched_sizes=True, key_mapping=KEY_MAPPING, **settings
        )
    except ImportError as error:
        raise InputError(f"attn_implementation must be installed: {first_line(error)}; use sdpa") from error
    except (*UNREADABLE, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamReader" not in str(error):
            raise
        raise unreadable(path, error) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = [describe_shapes(*entry) for entry in info["mismatched_keys"]]
    unexpected = [name for name in info["unexpected_keys"] if not name.endswith(IGNORED_SUFFIXES)]
    refuse_tensors(path, unexpected=sorted(unexpected), wrong=sorted(wrong))
    return model, set(info["missing_keys"])


def _fit_vocabulary(model: LlavaLlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add LLaVA's own tokens where the configuration asks for them (by default it does for <im_patch>)."""
    wanted = [DEFAULT_IMAGE_PATCH_TOKEN] if getattr(model.config, "mm_use_im_patch_token", True) else []
    if getattr(model.config, "mm_use_im_start_end", False):
        wanted += [DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN]
    if wanted:
        tokenizer.add_tokens(wanted, special_tokens=True)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))


def _merge_adapter(model: LlavaLlamaForCausalLM, path: str) -> LlavaLlamaForCausalLM:
    if importlib.util.find_spec("peft") is None:
        raise InputError("LoRA checkpoints need peft: it is not installed; pip install 'visiondrop[lora]'")
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, path).merge_and_unload()
    except (*UNREADABLE, ValueError) as error:
        raise InputError(
            f"a LoRA adapter must be readable: got '{path}', expected adapter_config.json and adapter_model in it "
            f"({first_line(error)})"
        ) from error


def _fill_tower(model: LlavaLlamaForCausalLM, missing: set[str], source: TowerSource, dtype: torch.dtype) -> set[str]:
    """Read the vision tower from where it lies, unless the checkpoint brought it along."""
    wanted = {name for name in missing if name.startswith(TOWER)}
    if not wanted or source.name is None:
        return set()
    try:
        tower, info = CLIPVisionModel.from_pretrained(source.name, dtype=dtype, output_loading_info=True)
    except UNREADABLE as error:
        raise unreadable(source.name, error) from error
    refuse_tensors(source.name, missing=sorted(info["missing_keys"]))
    return put(model, {TOWER + name: tensor for name, tensor in tower.state_dict().items()}, source.name)
