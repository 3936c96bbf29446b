"""The configurations of vision encoders: those that are known by name, and what a file may say."""

from typing import Any

from transformers import CLIPVisionConfig, SiglipVisionConfig

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.config import ACTIVATIONS, DOES_NOT_FIT, with_points
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import Rule, check, number, one_of, whole

CLIP, SIGLIP = "clip_vision_model", "siglip_vision_model"
_CONFIGS: dict[str, Any] = {CLIP: CLIPVisionConfig, SIGLIP: SiglipVisionConfig}
# What a config.json is of -> the encoder in it. A whole CLIP or SigLIP has the encoder's settings as `vision_config`.
_KINDS = {"clip": CLIP, CLIP: CLIP, "siglip": SIGLIP, SIGLIP: SIGLIP}

# Geometry of the published towers, so that a checkpoint which holds the tower's weights needs no hub.
_LARGE = {
    "model_type": CLIP,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
_SO400M = {
    "model_type": SIGLIP,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": _LARGE | {"image_size": 336},
    "openai/clip-vit-large-patch14": _LARGE | {"image_size": 224},
    "google/siglip-so400m-patch14-384": _SO400M | {"image_size": 384},
}
GEOMETRY: dict[str, Rule] = {
    "hidden_size": whole(1, 2**14),
    "intermediate_size": whole(1, 2**16),
    "projection_dim": whole(1, 2**16),
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": whole(1, 256),
    "num_channels": one_of(3),
    "image_size": whole(1, 4096),
    "patch_size": whole(1, 4096),
    "hidden_act": ACTIVATIONS,
    "layer_norm_eps": number(0, 1),
    "attention_dropout": number(0, 1),
    "initializer_range": number(0, 100),
    "initializer_factor": number(0, 100),
}
_OF_CLIP_ALONE = ("projection_dim", "initializer_range", "initializer_factor")
MOST_PATCHES_ON_A_SIDE = 256


def read_geometry(folder: Folder) -> Any:
    """The configuration of the encoder whose folder it is, or of the one in a whole CLIP's or SigLIP's folder.

    Raises:
        InputError: when it is another kind of encoder, or a value cannot be.
    """
    raw = folder.read_object("config.json") or {}
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InputError(
            f"the vision tower must be a CLIP or SigLIP encoder: got model_type {shown(kind)} in {folder.path}, "
            f"expected one of {', '.join(_KINDS)}; use a checkpoint with one of those"
        )
    vision = raw if kind in _CONFIGS else raw.get("vision_config")
    if not isinstance(vision, dict):
        raise InputError(
            f"a vision tower's config.json must fit: {shown(folder.path, 300)} has vision_config {shown(vision)}, "
            f"expected the encoder's settings; fetch the file again"
        )
    return tower_config(vision | {"model_type": _KINDS[kind]}, "a vision tower's config.json", folder.path)


def tower_config(settings: dict[str, Any], what: str, where: str) -> Any:
    """A vision encoder's geometry. Nothing else in its settings is used: they choose no code.

    Args:
        settings: transformers' of the encoder; `model_type` is CLIP's where it is absent.

    Raises:
        InputError: naming the first value that cannot be.
    """
    kind = settings.get("model_type", CLIP)
    if not isinstance(kind, str) or kind not in _CONFIGS:
        raise InputError(
            f"{what} must be of a CLIP or SigLIP encoder: {shown(where, 300)} has model_type {shown(kind)}, expected "
            f"{' or '.join(_CONFIGS)}; use a checkpoint with one of those"
        )
    geometry = {name: value for name, value in settings.items() if name in GEOMETRY}
    check(geometry, GEOMETRY, what, where)
    if kind == SIGLIP:
        geometry = {name: value for name, value in geometry.items() if name not in _OF_CLIP_ALONE}
    try:
        config = _CONFIGS[kind](**with_points(geometry))
    except DOES_NOT_FIT as error:
        raise InputError(f"{what} must fit: {shown(where, 300)} does not ({reason(error)})") from error
    side, patch, width = config.image_size, config.patch_size, config.hidden_size
    if width % config.num_attention_heads or not 1 <= side // patch <= MOST_PATCHES_ON_A_SIDE:
        raise InputError(
            f"{what} must fit: {shown(where, 300)} has a width of {width} for {config.num_attention_heads} heads and "
            f"pictures of {side} pixels in patches of {patch}, expected a multiple of the heads and 1 to "
            f"{MOST_PATCHES_ON_A_SIDE} patches on a side; fetch the file again"
        )
    return config


def layers_there(vision_config: Any) -> int:
    """Layers of the encoder as LLaVA has it: SigLIP's last one is cut off."""
    return vision_config.num_hidden_layers - (vision_config.model_type == SIGLIP)


def has_cls(vision_config: Any) -> bool:
    """True where the encoder has a [CLS] token: in CLIP, not in SigLIP."""
    return vision_config.model_type == CLIP
