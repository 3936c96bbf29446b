"""Quantised weights: bitsandbytes' 8 and 4 bits, of the language model only."""

import copy
import importlib.util
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from llava.errors import InputError, shown
from llava.model.checkpoint.rules import Rule, flag, list_of, nullable, number, one_of, text

# Full names: transformers compares a name with the beginning and the end of a module's.
UNTOUCHED = (
    *("model.vision_tower", "model.mm_projector", "lm_head"),
    *("transformer.vision_tower", "transformer.mm_projector"),  # MPT's names
)

_DTYPE = one_of("float16", "bfloat16", "float32", "float64", "uint8", "int8")
_SETTINGS: dict[str, Rule] = {
    "quant_method": one_of("bitsandbytes"),
    **dict.fromkeys(("load_in_8bit", "_load_in_8bit", "load_in_4bit", "_load_in_4bit"), flag()),
    "llm_int8_threshold": number(0, 1e6),
    "llm_int8_skip_modules": nullable(list_of(text(200))),
    **dict.fromkeys(("llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight"), flag()),
    "bnb_4bit_quant_type": one_of("nf4", "fp4"),
    "bnb_4bit_use_double_quant": flag(),
    "bnb_4bit_compute_dtype": nullable(_DTYPE),
    "bnb_4bit_quant_storage": nullable(_DTYPE),
}


def _is_ours(value: Any) -> bool:
    if not isinstance(value, dict) or not all(
        name in _SETTINGS and _SETTINGS[name].holds(value[name]) for name in value
    ):
        return False
    bits = [value.get(f"load_in_{bits}bit", value.get(f"_load_in_{bits}bit", False)) for bits in (4, 8)]
    # Older files leave the method out.
    return bits in ([True, False], [False, True])


BITSANDBYTES = Rule(
    "the settings of bitsandbytes in 8 or 4 bits; weights quantised otherwise (gptq, awq) are not read here, use the "
    "unquantised checkpoint with --load-8bit or --load-4bit",
    _is_ours,
)


def quantization(
    config: Any, dtype: torch.dtype, load_8bit: bool = False, load_4bit: bool = False, given: Any = None
) -> BitsAndBytesConfig | None:
    """transformers' bitsandbytes settings, or None. Vision tower, projector and output layer stay as they are.

    Args:
        config: the checkpoint's, whose weights may have been saved in 8 or 4 bits.
        dtype: in which 4-bit weights are computed with.
        given: the caller's own settings, a `BitsAndBytesConfig` or its arguments.

    Raises:
        InputError: for contradictory or foreign settings, and where bitsandbytes is missing.
    """
    saved = getattr(config, "quantization_config", None) is not None
    if sum((bool(load_8bit), bool(load_4bit), given is not None, saved)) > 1:
        raise InputError(
            f"choose one of 8-bit, 4-bit and a quantization_config: got several"
            f"{' (the weights of the checkpoint are quantised)' if saved else ''}; drop the others"
        )
    if not (load_8bit or load_4bit or saved or given is not None):
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            "8-bit and 4-bit loading need bitsandbytes: it is not installed; pip install 'visiondrop[quant]'"
        )
    if saved:
        return None  # transformers finds them in the configuration
    if given is not None:
        return _with_untouched(given)
    if load_8bit:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(UNTOUCHED))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_type="nf4",
        llm_int8_skip_modules=list(UNTOUCHED),
    )


def _with_untouched(given: Any) -> BitsAndBytesConfig:
    try:
        settings = copy.copy(given) if isinstance(given, BitsAndBytesConfig) else BitsAndBytesConfig(**given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"quantization_config must be bitsandbytes': got {shown(given)} ({error}); give a BitsAndBytesConfig"
        ) from error
    if not settings.load_in_8bit and not settings.load_in_4bit:
        raise InputError("quantization_config must say how: got neither load_in_8bit nor load_in_4bit; set one")
    own = settings.llm_int8_skip_modules or []
    settings.llm_int8_skip_modules = [*own, *(name for name in UNTOUCHED if name not in own)]
    return settings


def finish_matrices(model: Any) -> None:
    """What a model in 8 or 4 bits needs on a CPU.

    8-bit matrices are multiplied by torch there. Refused are 4-bit ones with which bitsandbytes cannot compute on this
    CPU, as the first answer would show.
    """
    if getattr(model, "is_loaded_in_8bit", False):
        from llava.model.checkpoint.int8_on_cpu import multiply_by_torch

        multiply_by_torch(model)
    if getattr(model, "is_loaded_in_4bit", False):
        _check_4bit(model)


def _check_4bit(model: Any) -> None:
    from bitsandbytes import functional
    from bitsandbytes.nn import Linear4bit

    if not getattr(functional, "has_avx512bf16", bool)():
        return
    for name, module in model.named_modules():
        if isinstance(module, Linear4bit) and module.weight.device.type == "cpu":
            rows, columns = module.out_features, module.in_features
            if rows % 32 or columns % module.weight.blocksize:
                raise InputError(
                    f"4-bit matrices on this CPU must have a multiple of 32 rows and {module.weight.blocksize} columns "
                    f"for bitsandbytes: {name} has {rows} x {columns}; use 8 bits, or none"
                )
