"""Load a published LLaVA checkpoint: full, LoRA on a base, or projector on a base."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_PATCH_TOKEN
from llava.hf.loading import is_host, load_host, refuse_settings
from llava.image_config import check_image_config
from llava.image_processor import check_view_edge
from llava.model.checkpoint.adapter import read_adapter
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.generation import read_generation_config
from llava.model.checkpoint.quantized import quantization
from llava.model.checkpoint.tensors import State, dtype_of
from llava.model.geometry import geometry_of
from llava.model.language_model.families import class_of
from llava.model.loading.arguments import Arguments, configured
from llava.model.loading.extras import FULL, LORA, kind_of, make_merged, read_beside
from llava.model.loading.making import make_model
from llava.model.loading.placement import device_map_for, dtype_for, runs_on_cpu
from llava.model.loading.pretrained import finish, prepare_tower
from llava.model.loading.state import check_state, fit_vocabulary, read_state
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.scales import feature_width, view_size
from llava.model.multimodal_encoder.source import tower_config
from llava.model.question import give_tokenizer
from llava.model.tokenizer import load_tokenizer
from llava.reduction import Geometry, Method, resolve

__all__ = ["load_pretrained_model", "load_tokenizer", "model_geometry", "prepare_tower"]


def load_pretrained_model(
    model_path: str,
    model_base: str | None,
    model_name: str,
    load_8bit: bool = False,
    load_4bit: bool = False,
    device_map: Any = "auto",
    device: Any = "cuda",
    use_flash_attn: bool = False,
    reduction: Method = None,
    torch_dtype: torch.dtype | str | None = None,
    attn_implementation: str | None = None,
    dtype: torch.dtype | str | None = None,
    overwrite_config: dict[str, Any] | None = None,
    customized_config: Any = None,
    use_flash_attention_2: bool = False,
    **kwargs: Any,
) -> tuple[PreTrainedTokenizerBase, Any, Any, int]:
    """LLaVA's loader.

    Args:
        model_path: folder or hub id of a checkpoint in LLaVA's original layout or in transformers' (llava-hf; Qwen-VL,
            InternVL); with `model_base`, of a LoRA adapter (with `non_lora_trainables.bin`) or of a projector
            (`mm_projector.bin`).
        model_base: folder or hub id of the language model those were trained on; None for a full checkpoint.
        model_name: as `llava.mm_utils.get_model_name_from_path` gives it. What a folder is, its files say.
        load_8bit, load_4bit: quantise the language model with bitsandbytes.
        device_map: transformers' device map, used where `device` is `cuda`; else everything goes to `device`.
        device: `cuda` means the CPU on a machine without an accelerator.
        use_flash_attn, use_flash_attention_2: the same as `attn_implementation="flash_attention_2"`.
        reduction: the method the model starts with, or its name (see `llava.reduction.resolve`); None keeps every
            token. `model.reduction = ...` changes it.
        torch_dtype, dtype: of all weights: torch's, its name, or `auto` for the checkpoint's; None: float16, or
            float32 on a CPU.
        attn_implementation: transformers' attention kernel; None: `sdpa`. `shared_prefix`: sdpa, and in `ask`
            questions about one picture read one copy of its keys and values.
        overwrite_config: settings that take the place of those in `config.json`.
        customized_config: a configuration in the place of `config.json`.
        kwargs: `max_memory`, `offload_folder`, `quantization_config` and others of transformers' `from_pretrained`,
            and settings of `config.json`; see `llava.model.loading.arguments`.

    Returns:
        tokenizer, model (in evaluation mode), image processor, context length. Of Qwen-VL and InternVL the model is
        transformers' own, and in the image processor's place stands what makes inputs of a prompt and its pictures
        together: `model.generate(**processor(text=prompt, images=[picture]))`.

    Raises:
        InputError: for a checkpoint that cannot be what it says, naming the file or the tensors; before weights are
            read where it can be known before.
    """
    arguments = Arguments.sorted(kwargs)
    folder = Folder(str(model_path), arguments.hub)
    attention = attn_implementation or _attention(use_flash_attn or use_flash_attention_2)
    if is_host(folder):
        refuse_settings(model_base, customized_config, {**arguments.settings, **(overwrite_config or {})})
        placement = (load_8bit, load_4bit, device_map, device, attention, dtype, torch_dtype, arguments.placement)
        return load_host(folder, reduction, *placement, arguments.quantization)
    base = Folder(str(model_base), arguments.hub) if model_base is not None else None
    weights = base or folder
    config = configured(folder, customized_config, {**arguments.settings, **(overwrite_config or {})})
    kind = kind_of(folder, base)
    source = prepare_tower(config, folder, base)
    edge = view_size(config, source.config)
    processor = build_image_processor(source, edge)
    check_image_config(config, edge, feature_width(config, source.config))
    check_view_edge(processor, edge)
    method = resolve(reduction, model_geometry(config))
    if base is not None and getattr(config, "quantization_config", None) is not None:
        del config.quantization_config  # it is about how the adapter was trained; the base is read as its files are
    placed = device_map_for(device_map, device)
    default = torch.float32 if runs_on_cpu(placed, arguments.placement.get("max_memory")) else torch.float16
    computing = dtype_for(dtype, torch_dtype, default, (config.dtype,))
    bits = quantization(config, computing, load_8bit, load_4bit, arguments.quantization)
    generation = read_generation_config(weights)
    tokenizer = load_tokenizer(weights.path)
    extra = read_beside(folder, kind) if kind != FULL else {}
    adapter = read_adapter(folder) if kind == LORA else None
    state = read_state(weights, extra, source)
    settings = dict(
        dtype=dtype_for(dtype, torch_dtype, default, (config.dtype, dtype_of(state))),
        device_map=placed,
        attn_implementation=attention,
        quantization_config=bits,
        **arguments.placement,
    )
    kind_of_model = class_of(config)
    check_state(state, config, kind_of_model, weights.path)
    _fit_vocabulary(state, config, tokenizer, kind)
    if adapter is not None:
        model = make_merged(kind_of_model, state, config, adapter, **settings)
    else:
        model = make_model(kind_of_model, state, config, weights.path, **settings)
    finish(model, source, processor, generation, folder.path)
    give_tokenizer(model, tokenizer)
    model.reduction = method
    return tokenizer, model.eval(), processor, getattr(config, "max_sequence_length", 2048)


def model_geometry(config: Any) -> Geometry:
    """What a method must fit into, known from a prepared configuration alone."""
    return geometry_of(config, tower_config(config.mm_vision_config, "mm_vision_config", "a configuration"))


def _attention(flash: bool) -> str:
    return "flash_attention_2" if flash else "sdpa"


def _fit_vocabulary(state: State, config: Any, tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    """Add LLaVA's own tokens where the configuration asks for them (by default it does for <im_patch>)."""
    before = _ids(tokenizer)
    wanted = [DEFAULT_IMAGE_PATCH_TOKEN] if getattr(config, "mm_use_im_patch_token", True) else []
    if getattr(config, "mm_use_im_start_end", False):
        wanted += [DEFAULT_IM_START_TOKEN, DEFAULT_IM_END_TOKEN]
    if wanted and tokenizer.add_tokens(wanted, special_tokens=True) and kind != FULL:
        # Of a base that has more rows than tokens; in training, too, a token that is new to it began as a mean.
        fit_vocabulary(state, config, min(before, config.vocab_size))
    fit_vocabulary(state, config, _ids(tokenizer))


def _ids(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many rows a tokenizer needs. Ids may have gaps; every one that a text can have needs its row."""
    return max([len(tokenizer), *(number + 1 for number in tokenizer.added_tokens_decoder)])
