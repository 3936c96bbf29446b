"""What `config.json` and `preprocessor_config.json` of a llava-hf folder say of a model of this project."""

from typing import Any

import transformers

from llava.errors import InputError, shown
from llava.image_config import aspect_ratio, has_tiles, most_tiles, select_feature
from llava.merge_config import patch_merge_type
from llava.model.multimodal_encoder.scales import scales_of
from llava.model.multimodal_encoder.tower_configs import has_cls
from llava.pinpoints import parse_pinpoints

TEXT: dict[str, Any] = {
    "llava_llama": transformers.LlamaConfig,
    "llava_mistral": transformers.MistralConfig,
    "llava_qwen": transformers.Qwen2Config,
}
_CLIP = {"image_token": "<image>", "num_additional_image_tokens": 1}
PROCESSORS: dict[str, dict[str, Any]] = {
    "llava": {"processor_class": "LlavaProcessor"} | _CLIP,
    "llava_next": {"processor_class": "LlavaNextProcessor"} | _CLIP,
    "llava_onevision": {
        "processor_class": "LlavaOnevisionProcessor",
        "image_token": "<image>",
        "video_token": "<video>",
    },
}


def hf_config(model: Any, image_token: int, video_token: int, rows: int) -> Any:
    """transformers' configuration of a model.

    Args:
        image_token, video_token: ids.
        rows: of the vocabulary.

    Raises:
        InputError: for what this layout cannot say.
    """
    said, tower = model.config, model.get_vision_tower().config
    _check(said, tower)
    text_kind = TEXT[said.model_type]
    text = {name: getattr(said, name) for name in text_kind().to_dict() if hasattr(said, name)}
    text = {name: value for name, value in text.items() if name not in ("model_type", "_name_or_path", "architectures")}
    text |= {"vocab_size": rows, "dtype": said.dtype}
    vision, cls = {k: v for k, v in tower.to_dict().items() if k != "model_type"}, has_cls(tower)
    if not cls:
        vision |= {"num_hidden_layers": tower.num_hidden_layers - 1, "vision_use_head": False}
    parts = {
        "text_config": text_kind(**text),
        "vision_config": (transformers.CLIPVisionConfig if cls else transformers.SiglipVisionConfig)(**vision),
        "vision_feature_layer": said.mm_vision_select_layer if cls else -1,
        "vision_feature_select_strategy": "default" if cls and select_feature(said) == "patch" else "full",
        "image_token_index": image_token,
        "tie_word_embeddings": bool(said.tie_word_embeddings),
        "dtype": said.dtype,
    }
    if not has_tiles(said):
        side = tower.image_size // tower.patch_size
        made = transformers.LlavaConfig(**parts, image_seq_length=side * side)
    else:
        parts["image_grid_pinpoints"] = pinpoints_there(said, tower.image_size)
        if most_tiles(said) is None:
            made = transformers.LlavaNextConfig(**parts)
        else:
            more = {"video_token_index": video_token, "vision_aspect_ratio": aspect_ratio(said)}
            made = transformers.LlavaOnevisionConfig(**parts, **more)
    made.architectures = [made.__class__.__name__.replace("Config", "ForConditionalGeneration")]
    return made


def pinpoints_there(said: Any, edge: int) -> list[list[int]]:
    """Pinpoints as (height, width), in the same order, so that of two alike grids the same one is taken."""
    return [[height, width] for width, height in parse_pinpoints(said.image_grid_pinpoints, edge)]


def preprocessor(model: Any, config: Any) -> dict[str, Any]:
    """`preprocessor_config.json`."""
    said, own = model.config, model.get_vision_tower().image_processor
    names = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "rescale_factor")
    settings = {name: getattr(own, name) for name in names if getattr(own, name, None) is not None}
    settings |= {name: list(getattr(own, name)) for name in ("image_mean", "image_std")}
    sizes = {name: _plain(getattr(own, name, None)) for name in ("size", "crop_size")}
    settings |= {name: size for name, size in sizes.items() if size} | {"resample": int(own.resample)}
    if config.model_type == "llava":
        padded = aspect_ratio(said) == "pad"
        kind = {"image_processor_type": "LlavaImageProcessor", "do_pad": True} if padded else {}
        return settings | (kind or {"image_processor_type": "CLIPImageProcessor"})
    if config.model_type == "llava_onevision":
        side = config.vision_config.image_size
        settings = {k: v for k, v in settings.items() if k not in ("do_center_crop", "crop_size")}
        settings["size"] = {"height": side, "width": side}
    kind = {"llava_next": "LlavaNextImageProcessor", "llava_onevision": "LlavaOnevisionImageProcessor"}
    settings |= {"image_processor_type": kind[config.model_type], "do_pad": True}
    return settings | {"image_grid_pinpoints": config.image_grid_pinpoints}


def _plain(size: Any) -> dict[str, int]:
    items = dict(size) if size is not None else {}
    return {name: int(value) for name, value in items.items() if value is not None}


def _check(said: Any, tower: Any) -> None:
    """Refuse what transformers' classes do not compute."""
    several = not has_cls(tower) and (not has_tiles(said) or most_tiles(said) is None)
    alike = has_cls(tower) and most_tiles(said) is not None
    merge = "spatial_unpad" if has_tiles(said) else "flat"
    problems = {
        f"a language model {said.model_type}": said.model_type not in TEXT,
        f"the projector {said.mm_projector_type}": said.mm_projector_type != "mlp2x_gelu",
        "a tower at several scales (s2)": bool(scales_of(said, tower)),
        f"the merge type {patch_merge_type(said)}": patch_merge_type(said) != merge,
        f"SigLIP with {shown(aspect_ratio(said))}": several,
        f"CLIP with {shown(aspect_ratio(said))}": alike,
    }
    for problem, found in problems.items():
        if found:
            raise InputError(
                f"transformers' layout holds LLaVA-1.5, LLaVA-NeXT and OneVision: got {problem}; keep the original "
                f"layout"
            )
