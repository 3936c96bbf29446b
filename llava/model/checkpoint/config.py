"""`config.json` of a LLaVA checkpoint: what it may say, and the configuration made of it.

Nothing in it chooses code. Keys by which transformers would fetch some (attention kernels, `auto_map`) are left out;
so are those that would replace a part of the configuration class.
"""

from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers.activations import ACT2FN

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.folder import Folder, first_line
from llava.model.checkpoint.quantized import BITSANDBYTES
from llava.model.checkpoint.rules import (
    Rule,
    check,
    either,
    flag,
    list_of,
    mapping_of,
    nullable,
    number,
    one_of,
    positive,
    table_of,
    text,
    whole,
)
from llava.model.language_model.llava_config import LlavaConfig

WHAT = "a checkpoint's config.json"
DTYPES = ("float16", "bfloat16", "float32", "float64")
ACTIVATIONS = one_of(*(name for name in ACT2FN if name not in ("prelu", "xielu")))  # those have weights of their own
# What transformers raises when it makes something of values that pass the tables one by one.
DOES_NOT_FIT = (
    *(TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, RuntimeError, ImportError),
    StrictDataclassError,
)
# Numbers that transformers wants with a point in them.
_WITH_POINT = ("initializer_range", "rms_norm_eps", "layer_norm_eps", "initializer_factor")

_FACTOR = positive(1e6)
ROPE = mapping_of(
    {
        "type": one_of("default", "linear", "dynamic", "yarn", "longrope", "llama3"),
        "rope_type": one_of("default", "linear", "dynamic", "yarn", "longrope", "llama3"),
        "rope_theta": positive(1e12),
        "partial_rotary_factor": number(0.01, 1),
        "original_max_position_embeddings": whole(1, 2**27),
        "short_factor": list_of(_FACTOR),
        "long_factor": list_of(_FACTOR),
        "truncate": flag(),
        **dict.fromkeys(
            ("factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"), _FACTOR
        ),
        **dict.fromkeys(("mscale", "mscale_all_dim"), number(0, 1e6)),
    }
)
_TOKEN = whole(-1, 2**24)
_ANY_LENGTH = whole(1, 10**31)  # transformers' own "no limit" is 10**30
LLAMA: dict[str, Rule] = {
    "vocab_size": whole(1, 2**24),
    "hidden_size": whole(1, 2**16),
    "intermediate_size": whole(1, 2**19),
    "num_hidden_layers": whole(1, 512),
    "num_attention_heads": whole(1, 1024),
    "num_key_value_heads": nullable(whole(1, 1024)),
    "head_dim": nullable(whole(1, 4096)),
    "hidden_act": ACTIVATIONS,
    "max_position_embeddings": whole(1, 2**27),
    "initializer_range": number(0, 100),
    "rms_norm_eps": number(0, 1),
    "use_cache": flag(),
    "pad_token_id": nullable(_TOKEN),
    "bos_token_id": nullable(_TOKEN),
    "eos_token_id": nullable(either(_TOKEN, list_of(_TOKEN))),
    "pretraining_tp": nullable(whole(0, 1024)),
    "tie_word_embeddings": flag(),
    "rope_theta": positive(1e12),
    "rope_scaling": nullable(ROPE),
    "rope_parameters": nullable(ROPE),
    "attention_bias": flag(),
    "attention_dropout": number(0, 1),
    "mlp_bias": flag(),
    "dtype": nullable(one_of(*DTYPES)),
    "torch_dtype": nullable(one_of(*DTYPES)),
}
LLAVA: dict[str, Rule] = {
    "mm_vision_tower": nullable(text()),
    "mm_vision_config": nullable(table_of(nullable(either(flag(), number(-1e12, 1e12), text(), list_of(text()))))),
    "mm_hidden_size": whole(1, 2**18),
    "mm_projector_type": nullable(text(100)),
    "mm_vision_select_layer": whole(-512, 512),
    "mm_vision_select_feature": nullable(text(100)),
    "mm_patch_merge_type": nullable(text(100)),
    "image_aspect_ratio": nullable(text(100)),
    "image_grid_pinpoints": nullable(either(text(), list_of(list_of(whole(1, 2**20), 2, 2), 1))),
    "image_crop_resolution": nullable(whole(1, 2**20)),
    "max_sequence_length": _ANY_LENGTH,
    "tokenizer_model_max_length": nullable(_ANY_LENGTH),
    "tokenizer_padding_side": nullable(one_of("left", "right")),
    **dict.fromkeys(("mm_use_im_start_end", "mm_use_im_patch_token", "use_mm_proj", "s2"), nullable(flag())),
    "s2_scales": nullable(text(200)),
    "quantization_config": nullable(BITSANDBYTES),
}


def read_config(path: str, folder: Folder | None = None) -> LlavaConfig:
    """The configuration of a LLaVA checkpoint in the original layout, from a folder or a hub id.

    Raises:
        InputError: when there is none, or it is of another layout or model family, or a value in it cannot be.
    """
    path = str(path)
    raw = read_raw_config(folder or Folder(path))
    kind = raw.get("model_type")
    if (kind == "llava" and "text_config" in raw) or kind == "llava_next":
        raise InputError(
            f"checkpoints must be in LLaVA's original layout: got the transformers layout (llava-hf) in '{path}'; use "
            f"the liuhaotian/ checkpoint of the same name"
        )
    if kind not in ("llava", "llava_llama"):
        raise InputError(f"unknown model family {shown(kind)} in '{path}': expected model_type llava or llava_llama")
    return make_config(raw, path)


def read_raw_config(folder: Folder) -> dict[str, Any]:
    """What `config.json` says, unjudged; InputError when there is none that can be read."""
    try:
        raw, problem = folder.read_object("config.json"), "there is none"
    except InputError as error:
        raw, problem = None, first_line(error)
    if not raw:
        raise InputError(
            f"a checkpoint needs a readable config.json: got {shown(folder.path, 300)} ({problem}); give a LLaVA "
            f"checkpoint as a folder or hub id"
        )
    return raw


def make_config(raw: dict[str, Any], where: str) -> LlavaConfig:
    """The configuration that settings say, of a LLaVA or of the plain LLaMA it begins with.

    Raises:
        InputError: naming the first value that cannot be.
    """
    settings = settings_of(raw)
    check(settings, LLAMA | LLAVA, WHAT, where)
    try:
        config = LlavaConfig(**with_points(settings))
    except DOES_NOT_FIT as error:
        raise InputError(
            f"{WHAT} must fit: {shown(where, 300)} does not ({reason(error)}); fetch the file again"
        ) from error
    _check_together(config, where)
    return config


def settings_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The keys that are a LLaVA's settings: the known ones, and those that mean nothing to transformers.

    `torch_dtype` comes out as `dtype`; names such as torch.float16 lose their prefix.
    """
    names = {name: value for name, value in raw.items() if not name.startswith("_") and name != "auto_map"}
    settings = {name: value for name, value in names.items() if name in LLAMA | LLAVA or not _is_transformers(name)}
    for name in ("dtype", "torch_dtype"):
        if isinstance(settings.get(name), str):
            settings[name] = settings[name].removeprefix("torch.")
    if "torch_dtype" in settings:
        settings.setdefault("dtype", settings["torch_dtype"])
    if settings.get("quantization_config", False) is None:
        del settings["quantization_config"]
    return settings


def with_points(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, with 0 as 0.0 where transformers insists."""
    return {name: float(value) if name in _WITH_POINT else value for name, value in settings.items()}


_ACTING = (
    *("model_type", "attn_implementation", "experts_implementation", "trust_remote_code", "transformers_weights"),
    *("fusion_config", "kernel_config", "use_kernels", "allow_all_kernels", "distributed_config", "num_labels"),
)


def _is_transformers(name: str) -> bool:
    return name in _ACTING or hasattr(LlavaConfig, name)


def _check_together(config: LlavaConfig, where: str) -> None:
    """What no value alone shows."""
    heads, keys = config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads
    problems = {
        f"hidden_size {config.hidden_size} is no multiple of num_attention_heads {heads}": (
            config.hidden_size % heads and not getattr(config, "head_dim", None)
        ),
        f"num_attention_heads {heads} is no multiple of num_key_value_heads {keys}": heads % keys,
        f"the head width {config.hidden_size // heads} is odd": (
            (getattr(config, "head_dim", None) or config.hidden_size // heads) % 2
        ),
        f"pad_token_id {config.pad_token_id} is not below vocab_size {config.vocab_size}": (
            config.pad_token_id is not None and config.pad_token_id >= config.vocab_size
        ),
    }
    for problem, found in problems.items():
        if found:
            raise InputError(
                f"{WHAT} must fit: in {shown(where, 300)} {problem}; use the file that belongs to the weights"
            )
