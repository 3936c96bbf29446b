"""Checkpoints of transformers' own vision-language models: transformers loads them, and nothing is left open."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from llava.errors import InputError
from llava.hf.loading_config import host_config, host_of
from llava.hf.processing import PromptProcessor, prompt_processor
from llava.hf.reduced import reduce
from llava.model.checkpoint.config import read_stored_config
from llava.model.checkpoint.folder import Folder, first_line
from llava.model.checkpoint.generation import read_generation_config
from llava.model.checkpoint.quantized import finish_matrices, quantization
from llava.model.checkpoint.tensors import UNREADABLE
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.model.loading.making import refusal
from llava.model.loading.names import describe_shapes, refuse_tensors
from llava.model.loading.placement import device_map_for, dtype_for, runs_on_cpu
from llava.model.tokenizers.loading import load_tokenizer

# Kept whole where the language model is quantised, by the names that these models have in memory.
UNTOUCHED = ("model.visual", "model.vision_tower", "model.multi_modal_projector", "lm_head")


def load_host(
    folder: Folder,
    reduction: Any = None,
    load_8bit: bool = False,
    load_4bit: bool = False,
    device_map: Any = "auto",
    device: Any = "cuda",
    attn_implementation: str = "sdpa",
    dtype: Any = None,
    torch_dtype: Any = None,
    placement: Mapping[str, Any] | None = None,
    quantization_config: Any = None,
) -> tuple[Any, Any, PromptProcessor, int]:
    """As `llava.model.builder.load_pretrained_model`, whose arguments these are.

    Returns:
        tokenizer; transformers' own model, reduced where `reduction` names a method; what makes inputs of a prompt and
        its pictures; context length.

    Raises:
        InputError: for a checkpoint that cannot be what it says: no tensor is missing, unexpected or of another shape.
    """
    if attn_implementation == SHARED_PREFIX:
        raise InputError(
            f"attn_implementation {SHARED_PREFIX} is LLaVA's: got it for '{folder.path}', a model of transformers' "
            f"own; use sdpa"
        )
    raw = read_stored_config(folder)
    host = host_of(raw)
    assert host is not None, "the caller has looked"
    config = host_config(raw, host, folder)
    tokenizer = load_tokenizer(folder.path)
    processor = prompt_processor(folder, host, config, tokenizer)
    generation = read_generation_config(folder)
    placed, more = device_map_for(device_map, device), dict(placement or {})
    default = torch.float32 if runs_on_cpu(placed, more.get("max_memory")) else torch.float16
    own = config.dtype, getattr(config.text_config, "dtype", None)
    computing = dtype_for(dtype, torch_dtype, default, own)
    bits = quantization(config, computing, load_8bit, load_4bit, quantization_config)
    if bits is not None:
        bits.llm_int8_skip_modules = [*(bits.llm_int8_skip_modules or ()), *UNTOUCHED]
    settings = {"dtype": computing, "device_map": placed, "attn_implementation": attn_implementation}
    settings |= {"quantization_config": bits, **more}
    model = _loaded(getattr(transformers, host.model), folder, config, settings)
    if generation is not None:
        model.generation_config = generation
    made = model.eval() if reduction is None else reduce(model.eval(), reduction)
    return tokenizer, made, processor, config.text_config.max_position_embeddings


def _loaded(kind: Any, folder: Folder, config: Any, settings: Mapping[str, Any]) -> Any:
    """The model, every tensor of it read."""
    given = {name: value for name, value in settings.items() if value is not None}
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, info = kind.from_pretrained(
            folder.path, config=config, output_loading_info=True, trust_remote_code=False, **folder.hub, **given
        )
    except ImportError as error:
        raise InputError(f"attn_implementation must be installed: {first_line(error)}; use sdpa") from error
    except UNREADABLE as error:
        raise refusal(folder.path, error) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    wrong = sorted(describe_shapes(*entry) for entry in info["mismatched_keys"])
    lost, foreign = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    refuse_tensors(folder.path, missing=lost, unexpected=foreign, wrong=wrong)
    finish_matrices(model)
    return model


def is_host(folder: Folder) -> bool:
    """Whether a checkpoint is one of these; what has no readable config.json is none, and refused where it is read."""
    try:
        return host_of(read_stored_config(folder)) is not None
    except InputError:
        return False


def refuse_settings(base: Any, customized: Any, settings: Mapping[str, Any]) -> None:
    """Refuse what LLaVA's layout alone has: a base, another configuration, settings of `config.json`."""
    given = ["model_base"] if base is not None else []
    given += ["customized_config"] if customized is not None else []
    given += list(settings)
    if given:
        raise InputError(
            f"a checkpoint of transformers' own model is loaded as it is: got {given[0]}; leave it out, or change "
            f"config.json"
        )
