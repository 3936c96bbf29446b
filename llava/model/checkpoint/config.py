"""`config.json` of a LLaVA checkpoint: what it may say, and the configuration made of it.

Nothing in it chooses code. Keys by which transformers would fetch some (attention kernels, `auto_map`) are left out;
so are those that would replace a part of the configuration class.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.families import FAMILIES, Family, family_of
from llava.model.checkpoint.folder import Folder, first_line
from llava.model.checkpoint.hf_layout import as_original, kind_there
from llava.model.checkpoint.language import ACTIVATIONS, DTYPES, MPT_ATTENTION
from llava.model.checkpoint.quantized import BITSANDBYTES
from llava.model.checkpoint.rules import (
    Rule,
    check,
    either,
    flag,
    list_of,
    nullable,
    number,
    one_of,
    table_of,
    text,
    whole,
)

__all__ = ["ACTIVATIONS", "DOES_NOT_FIT", "DTYPES", "LLAVA", "WHAT", "make_config", "read_config"]

WHAT = "a checkpoint's config.json"
# What transformers raises when it makes something of values that pass the tables one by one.
DOES_NOT_FIT = (
    *(TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, RuntimeError, ImportError),
    StrictDataclassError,
)
# Numbers that transformers wants with a point in them.
_WITH_POINT = (
    *("initializer_range", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "initializer_factor"),
    *("clip_qkv", "softmax_scale", "embedding_fraction"),
)

_ANY_LENGTH = whole(1, 10**31)  # transformers' own "no limit" is 10**30
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


def read_config(path: str, folder: Folder | None = None) -> Any:
    """The configuration of a LLaVA checkpoint in the original layout or transformers', from a folder or a hub id.

    Raises:
        InputError: when there is none, or it is of another layout or model family, or a value in it cannot be.
    """
    raw = read_raw_config(folder or Folder(str(path)))
    return make_config(raw, str(path), family_of(raw, str(path)))


def read_raw_config(folder: Folder) -> dict[str, Any]:
    """What `config.json` says in LLaVA's own keys, unjudged; InputError as `read_stored_config`."""
    raw = read_stored_config(folder)
    return raw if kind_there(raw) is None else as_original(raw, folder)


def read_stored_config(folder: Folder) -> dict[str, Any]:
    """`config.json` as it stands; InputError when there is none that can be read."""
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


def make_config(raw: dict[str, Any], where: str, family: Family = FAMILIES["llava_llama"]) -> Any:
    """The configuration that settings say, of a LLaVA or of the plain language model it begins with.

    Raises:
        InputError: naming the first value that cannot be.
    """
    settings = settings_of(raw, family)
    check(settings, rules_of(family), WHAT, where)
    try:
        config = family.config(**with_points(settings))
    except DOES_NOT_FIT as error:
        raise InputError(
            f"{WHAT} must fit: {shown(where, 300)} does not ({reason(error)}); fetch the file again"
        ) from error
    _check_together(config, settings, where)
    return config


def rules_of(family: Family) -> dict[str, Rule]:
    """What a `config.json` of a family may say."""
    return {**family.rules, **LLAVA}


def settings_of(raw: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The keys that are a LLaVA's settings: the known ones, and those that mean nothing to transformers.

    `torch_dtype` comes out as `dtype`; names such as torch.float16 lose their prefix.
    """
    rules = rules_of(family)
    names = {name: value for name, value in raw.items() if not name.startswith("_") and name != "auto_map"}
    settings = {name: value for name, value in names.items() if name in rules or not _is_transformers(name, family)}
    for name in ("dtype", "torch_dtype"):
        if isinstance(settings.get(name), str):
            settings[name] = settings[name].removeprefix("torch.")
    if "torch_dtype" in settings:
        settings.setdefault("dtype", settings["torch_dtype"])
    if settings.get("quantization_config", False) is None:
        del settings["quantization_config"]
    attention = settings.get("attn_config")
    if "attn_config" in rules and isinstance(attention, Mapping):  # transformers writes its own defaults into it
        settings["attn_config"] = {name: value for name, value in attention.items() if name in MPT_ATTENTION}
    return settings


def with_points(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, with 0 as 0.0 where transformers insists."""
    pointed = {name: float(own) if name in _WITH_POINT and own is not None else own for name, own in settings.items()}
    attention = pointed.get("attn_config")
    if isinstance(attention, Mapping):
        known = {name: own for name, own in with_points(attention).items() if name not in ("rope", "qk_gn")}
        pointed["attn_config"] = known | ({"attn_pdrop": 0} if "attn_pdrop" in known else {})
    return pointed


_ACTING = (
    *("model_type", "attn_implementation", "experts_implementation", "trust_remote_code", "transformers_weights"),
    *("fusion_config", "kernel_config", "use_kernels", "allow_all_kernels", "distributed_config", "num_labels"),
)


def _is_transformers(name: str, family: Family) -> bool:
    return name in _ACTING or name in family.config.attribute_map or hasattr(family.config, name)


def _check_together(config: Any, settings: Mapping[str, Any], where: str) -> None:
    """What no value alone shows."""
    width, heads = config.hidden_size, config.num_attention_heads
    keys, head = getattr(config, "num_key_value_heads", None) or heads, getattr(config, "head_dim", None)
    kinds = getattr(config, "layer_types", None)
    problems = {
        f"hidden_size {width} is no multiple of num_attention_heads {heads}": width % heads and not head,
        f"num_attention_heads {heads} is no multiple of num_key_value_heads {keys}": heads % keys,
        f"the head width {head or width // heads} is odd": hasattr(config, "rope_parameters")
        and (head or width // heads) % 2,
        f"hidden_size is {settings.get('hidden_size')} and d_model {settings.get('d_model')}": (
            {"hidden_size", "d_model"} <= set(settings) and settings["hidden_size"] != settings["d_model"]
        ),
        f"layer_types names {len(kinds or ())} layers and num_hidden_layers is {config.num_hidden_layers}": (
            kinds is not None and len(kinds) != config.num_hidden_layers
        ),
        "layer_types names sliding_attention and there is no sliding_window": (
            kinds is not None and "sliding_attention" in kinds and getattr(config, "sliding_window", None) is None
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
