"""transformers' layout of LLaVA-1.5, LLaVA-NeXT and OneVision (llava-hf), as LLaVA's own configuration would say it.

The layouts differ in names and in what is written down where. What this layout says is turned into LLaVA's keys, and
judged as if it had been read there; tensors are renamed one by one, and every name and shape is compared with the
model's before any is read, so that none can stay as it was made.
"""

import re
from collections.abc import Mapping
from typing import Any

from llava.errors import InputError, shown
from llava.model.checkpoint.folder import Folder

KINDS = ("llava", "llava_next", "llava_onevision")
# Where the tower's weights are: no folder has such a name.
INSIDE = "(in transformers' layout)"
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
_TEXT = {"llama": "llava_llama", "mistral": "llava_mistral", "qwen2": "llava_qwen"}
# All generations: the hub's files, those of transformers 4.52 to 4.57, and what transformers 5 has in memory and saves.
_NAMES = (
    (re.compile(r"^(model\.)?language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^(model\.)?language_model\.(model\.)?"), "model."),
    (re.compile(r"^(model\.)?vision_tower\.(vision_model\.)?(?!vision_tower\.)"), "model.vision_tower.vision_tower."),
    (re.compile(r"^(model\.)?multi_modal_projector\.linear_1\."), "model.mm_projector.0."),
    (re.compile(r"^(model\.)?multi_modal_projector\.linear_2\."), "model.mm_projector.2."),
    (re.compile(r"^image_newline$"), "model.image_newline"),
)
_CLIP_L = {  # what transformers takes where nothing is said
    **{"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
    **{"num_attention_heads": 16, "image_size": 336, "patch_size": 14, "projection_dim": 768},
}
_SO400M = {  # OneVision's, in the same case
    **{"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26},
    **{"num_attention_heads": 16, "image_size": 384, "patch_size": 14},
}


def kind_there(raw: Mapping[str, Any]) -> str | None:
    """Which of `KINDS` a `config.json` is of; None where it is of LLaVA's layout, or of no LLaVA."""
    kind = raw.get("model_type")
    in_parts = "text_config" in raw or "vision_config" in raw
    return kind if kind in KINDS and (kind != "llava" or in_parts) else None


def original_name(name: str) -> str:
    """LLaVA's name for a tensor of this layout; any other as it is."""
    for pattern, new in _NAMES:
        renamed, found = pattern.subn(new, name)
        if found:
            return renamed
    return name


def as_original(raw: Mapping[str, Any], folder: Folder) -> dict[str, Any]:
    """A `config.json` of this layout with LLaVA's keys, still unjudged.

    Raises:
        InputError: for what LLaVA's models do not compute.
    """
    kind = str(raw["model_type"])
    text, vision = _part(raw, "text_config", folder), _part(raw, "vision_config", folder)
    vision = vision or dict(_SO400M if kind == "llava_onevision" else _CLIP_L)
    siglip = str(vision.get("model_type", "clip_vision_model")).startswith("siglip")
    _check(raw, text, siglip, folder)
    layer = raw.get("vision_feature_layer", -1 if kind == "llava_onevision" else -2)
    if siglip:  # here as many layers as are used and one that is cut off
        there = vision.get("num_hidden_layers", 12)
        used = there + 1 + layer if layer < 0 else layer
        vision = vision | {"num_hidden_layers": used + 1}
    made = {name: value for name, value in text.items() if name != "model_type" and not name.startswith("_")}
    dtype = raw.get("dtype", raw.get("torch_dtype", text.get("dtype", text.get("torch_dtype"))))
    made |= {"dtype": dtype} if dtype is not None else {}
    made.pop("torch_dtype", None)
    if "tie_word_embeddings" in raw:
        made["tie_word_embeddings"] = raw["tie_word_embeddings"]
    whole = raw.get("vision_feature_select_strategy", "default") == "full" and not siglip
    return made | {
        "model_type": _TEXT[str(text.get("model_type", "qwen2" if kind == "llava_onevision" else "llama"))],
        "mm_vision_tower": INSIDE,
        "mm_vision_config": {name: value for name, value in vision.items() if not isinstance(value, (dict, list))},
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2 if siglip else layer,
        "mm_vision_select_feature": "cls_patch" if whole else "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        **_pictures(raw, kind, folder),
    }


def _pictures(raw: Mapping[str, Any], kind: str, folder: Folder) -> dict[str, Any]:
    """How pictures are cut, as transformers does it; pinpoints are (height, width) there."""
    if kind == "llava":
        said = preprocessor_of(folder) or {}
        pads = said.get("do_pad") is True and "Llava" in str(said.get("image_processor_type"))
        return {"image_aspect_ratio": "pad" if pads else "square", "mm_patch_merge_type": "flat"}
    aspect = raw.get("vision_aspect_ratio", "anyres_max_9") if kind == "llava_onevision" else "anyres"
    pinpoints = raw.get("image_grid_pinpoints")
    if pinpoints is None:
        pinpoints = (preprocessor_of(folder) or {}).get("image_grid_pinpoints") or _default_pinpoints(kind)
    if isinstance(pinpoints, list) and all(isinstance(pair, list) for pair in pinpoints):
        pinpoints = [pair[::-1] for pair in pinpoints]
    merge = {"image_aspect_ratio": aspect, "image_grid_pinpoints": pinpoints, "mm_patch_merge_type": "spatial_unpad"}
    return merge | {"mm_spatial_pool_mode": "bilinear"}


def _default_pinpoints(kind: str) -> list[list[int]]:
    if kind == "llava_onevision":
        return [[384 * high, 384 * wide] for high in range(1, 7) for wide in range(1, 7)]
    return [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def preprocessor_of(folder: Folder) -> dict[str, Any] | None:
    """What a folder says of its image processor, wherever that stands; None where it says nothing."""
    own = folder.read_object(PREPROCESSOR)
    if own is not None:
        return own
    nested = (folder.read_object(PROCESSOR) or {}).get("image_processor")
    return nested if isinstance(nested, dict) else None


def llavas_own(folder: Folder, raw: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Settings by which pictures are cut as LLaVA cuts them, where transformers does otherwise, and how they differ.

    Args:
        raw: `config.json` as it stands in the folder.

    Returns:
        ({}, "") where nothing differs.
    """
    kind = kind_there(raw)
    if kind is None:
        return {}, ""
    here = _pictures(raw, kind, folder)
    if kind == "llava":
        words = "the centre of a picture is cut out, where LLaVA-1.5 pads it to a square"
        return ({}, "") if here["image_aspect_ratio"] == "pad" else ({"image_aspect_ratio": "pad"}, words)
    pairs = here["image_grid_pinpoints"]
    oblong = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and pair[0] != pair[1]]
    if not oblong or oblong[0][0] < oblong[0][1]:  # LLaVA's lists begin with one that is higher than wide
        return {}, ""
    words = "of two grids that fit a small picture as well, another is taken than LLaVA takes"
    return {"image_grid_pinpoints": [pair[::-1] for pair in pairs]}, words


def _part(raw: Mapping[str, Any], name: str, folder: Folder) -> dict[str, Any]:
    part = raw.get(name)
    if part is not None and not isinstance(part, dict):
        raise _unfit(folder, f"{name} {shown(part)}, expected an object of settings")
    return dict(part or {})


def _check(raw: Mapping[str, Any], text: Mapping[str, Any], siglip: bool, folder: Folder) -> None:
    """Refuse what makes another model of it."""
    family = text.get("model_type", "llama")
    if not isinstance(family, str) or family not in _TEXT:
        raise _unfit(folder, f"a language model {shown(family)}, expected one of {', '.join(_TEXT)}")
    layer = raw.get("vision_feature_layer", -2)
    if not isinstance(layer, int) or isinstance(layer, bool):
        raise _unfit(folder, f"vision_feature_layer {shown(layer)}, expected the number of one layer")
    expected = {
        "projector_hidden_act": ("gelu",),
        "multimodal_projector_bias": (True,),
        "vision_feature_select_strategy": ("full",) if siglip else ("default", "full"),
        "quantization_config": (None,),
    }
    for name, values in expected.items():
        if name in raw and not any(type(raw[name]) is type(value) and raw[name] == value for value in values):
            what = " or ".join(map(str, values)).replace("None", "none, and --load-4bit or --load-8bit")
            raise _unfit(folder, f"{name} {shown(raw[name])}, expected {what}")


def _unfit(folder: Folder, problem: str) -> InputError:
    return InputError(
        f"a llava-hf checkpoint's config.json must fit: {shown(folder.path, 300)} has {problem}; fetch the file again, "
        f"or use another checkpoint"
    )
