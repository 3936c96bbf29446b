"""`config.json` of a checkpoint of transformers' own vision-language models: which is read, and what it may say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import transformers

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.config import DOES_NOT_FIT, WHAT
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.language import ACTIVATIONS, DTYPES
from llava.model.checkpoint.rules import Rule, check, either, flag, list_of, nullable, number, one_of, positive, whole


@dataclass(frozen=True)
class Host:
    """A family that transformers' own class computes.

    Attributes:
        name: in words.
        model, config: names of transformers' classes.
        pictures: names of the image processors that its files may name, without `Fast` and `Pil`.
        picture: what stands for a picture in a prompt.
        around: what a picture's tokens stand between, where the chat template leaves that to the processor.
        always: settings of pictures that transformers' processor has whatever `preprocessor_config.json` says.
    """

    name: str
    model: str
    config: str
    pictures: tuple[str, ...]
    token: str
    picture: str
    around: tuple[str, str] = ("", "")
    always: Mapping[str, Any] = field(default_factory=dict)


_QWEN = (("Qwen2VLImageProcessor", "Qwen3VLImageProcessor"), "<|image_pad|>")
_IN_MARKS = "<|vision_start|><|image_pad|><|vision_end|>"
HOSTS = {
    "qwen2_vl": Host("Qwen2-VL", "Qwen2VLForConditionalGeneration", "Qwen2VLConfig", *_QWEN, _IN_MARKS),
    "qwen2_5_vl": Host("Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLConfig", *_QWEN, _IN_MARKS),
    "qwen3_vl": Host("Qwen3-VL", "Qwen3VLForConditionalGeneration", "Qwen3VLConfig", *_QWEN, _IN_MARKS),
    "internvl": Host(
        "InternVL",
        "InternVLForConditionalGeneration",
        "InternVLConfig",
        ("GotOcr2ImageProcessor",),
        "<IMG_CONTEXT>",
        "<IMG_CONTEXT>",
        ("<img>", "</img>"),
        {"crop_to_patches": True},  # its files may leave it off
    ),
}

_COUNT, _WIDTH, _TOKEN = whole(1, 512), whole(1, 2**16), whole(-1, 2**24)
_SIDE = whole(1, 2**14)
_LAYERS = list_of(whole(0, 511), 0, 512)
RULES: dict[str, Rule] = {
    **dict.fromkeys(("num_hidden_layers", "depth", "max_window_layers"), whole(0, 512)),
    **dict.fromkeys(("hidden_size", "embed_dim", "out_hidden_size"), _WIDTH),
    **dict.fromkeys(("num_attention_heads", "num_heads"), whole(1, 1024)),
    "num_key_value_heads": nullable(whole(1, 1024)),
    "head_dim": nullable(whole(1, 4096)),
    "intermediate_size": whole(1, 2**19),
    "mlp_ratio": positive(64),
    "vocab_size": whole(1, 2**24),
    "max_position_embeddings": whole(1, 2**27),
    "num_position_embeddings": whole(1, 2**22),
    **dict.fromkeys(("patch_size", "image_size"), either(_SIDE, list_of(_SIDE, 2, 2))),
    **dict.fromkeys(("spatial_merge_size", "temporal_patch_size", "tokens_per_second"), whole(1, 64)),
    **dict.fromkeys(("spatial_patch_size", "window_size"), _SIDE),
    **dict.fromkeys(("in_channels", "in_chans", "num_channels"), one_of(3)),
    **dict.fromkeys(("fullatt_block_indexes", "deepstack_visual_indexes"), _LAYERS),
    **dict.fromkeys(("hidden_act", "projector_hidden_act"), ACTIVATIONS),
    **dict.fromkeys(("rms_norm_eps", "layer_norm_eps", "attention_dropout"), number(0, 1)),
    "initializer_range": number(0, 100),
    "rope_theta": positive(1e12),
    **dict.fromkeys(("tie_word_embeddings", "use_sliding_window", "use_cache", "attention_bias"), flag()),
    "sliding_window": nullable(whole(1, 2**27)),
    **dict.fromkeys(("dtype", "torch_dtype"), nullable(one_of(*DTYPES))),
    **dict.fromkeys(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"), _TOKEN),
    **dict.fromkeys(("bos_token_id", "pad_token_id"), nullable(_TOKEN)),
    "eos_token_id": nullable(either(_TOKEN, list_of(_TOKEN))),
    **dict.fromkeys(("downsample_ratio",), positive(1)),
    "image_seq_length": whole(1, 2**16),
    "vision_feature_layer": either(whole(-512, 512), list_of(whole(-512, 512), 1, 512)),
    "vision_feature_select_strategy": one_of("default", "full"),
}
# What would fetch code, or change what is computed by something that is no setting of the model.
_LEFT_OUT = ("auto_map", "attn_implementation", "experts_implementation", "architectures", "transformers_version")


def host_of(raw: Mapping[str, Any]) -> Host | None:
    """The family that a `config.json` names; None where it is none of these."""
    kind = raw.get("model_type")
    return HOSTS.get(kind) if isinstance(kind, str) else None


def host_config(raw: Mapping[str, Any], host: Host, folder: Folder) -> Any:
    """transformers' configuration.

    Raises:
        InputError: naming the first value that cannot be.
    """
    where = folder.path
    parts = {name: raw.get(name) for name in ("text_config", "vision_config")}
    for name, part in parts.items():
        if part is not None and not isinstance(part, dict):
            raise InputError(f"{WHAT} must fit: {shown(where, 300)} has {name} {shown(part)}; fetch the file again")
    for part in (raw, *parts.values()):
        check(_plain(part or {}), RULES, WHAT, where)
    if raw.get("quantization_config") is not None and _method(raw["quantization_config"]) != "bitsandbytes":
        raise InputError(
            f"weights that are quantised are bitsandbytes' or none: {shown(where, 300)} has "
            f"{shown(_method(raw['quantization_config']))}; use the unquantised checkpoint with --load-4bit"
        )
    settings = _plain(raw)
    settings |= {name: _plain(part) for name, part in parts.items() if part is not None}
    settings.pop("model_type", None)
    try:
        config = getattr(transformers, host.config)(**settings)
    except DOES_NOT_FIT as error:
        raise InputError(
            f"{WHAT} must fit: {shown(where, 300)} does not ({reason(error)}); fetch the file again"
        ) from error
    text = config.text_config
    heads, keys = text.num_attention_heads, getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    if heads % keys or (text.hidden_size % heads and not getattr(text, "head_dim", None)):
        raise InputError(
            f"{WHAT} must fit: {shown(where, 300)} has {heads} heads over {keys} key heads in a width of "
            f"{text.hidden_size}; use the file that belongs to the weights"
        )
    return config


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without what chooses code; names of precisions without their prefix."""
    kept = {name: own for name, own in settings.items() if not name.startswith("_") and name not in _LEFT_OUT}
    for name in ("dtype", "torch_dtype"):
        if isinstance(kept.get(name), str):
            kept[name] = kept[name].removeprefix("torch.")
    return kept


def _method(quantization: Any) -> Any:
    return quantization.get("quant_method", "bitsandbytes") if isinstance(quantization, dict) else quantization
