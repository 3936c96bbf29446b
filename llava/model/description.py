"""What was loaded, in one line: family, tower, how pictures become tokens, and the method."""

from typing import Any

from llava.image_config import aspect_ratio, has_tiles, most_tiles, select_feature
from llava.model.checkpoint.families import FAMILIES
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.tensors import read_weights
from llava.model.loading.names import TOWER, model_names
from llava.model.multimodal_encoder.scales import scales_of
from llava.model.multimodal_encoder.tower_configs import has_cls
from llava.reduction import Geometry, Reduction, name_of
from llava.reduction.schedule import average_said


def describe(model: Any, method: Reduction | None = None, place: str = "", geometry: Geometry | None = None) -> str:
    """A model in one line.

    Args:
        method: the reduction that it will run; None: nothing is said of one.
        place: where the tower's weights came from (`tower_place`), if known.
        geometry: of what it will see; None: pictures.

    Example: `LLaVA-NeXT on Mistral (32 layers), CLIP 336/14 inside the checkpoint, anyres up to 5 views (2928 tokens),
    method visiondrop: 320.0 tokens per layer on average`.
    """
    config, tower = model.config, model.get_vision_tower()
    language = f"{FAMILIES[config.model_type].name} ({config.num_hidden_layers} layers)"
    if tower is None:
        return f"{language} without a vision tower"
    geometry = geometry or model.geometry
    parts = [
        f"{_recipe(config, tower.config)} on {language}",
        " ".join(filter(None, (_tower(config, tower.config), place))),
        _pictures(config, geometry),
    ]
    if method is not None:
        parts.append(f"method {name_of(method)}: {average_said(method, geometry)} tokens per layer on average")
    return ", ".join(parts)


def tower_place(model_path: str, model_base: str | None = None) -> str:
    """Where the weights of a vision tower come from; their names are read, and nothing else.

    Raises:
        InputError: for weights that cannot be read.
    """
    weights = read_weights(Folder(str(model_base or model_path)))
    return f"{'inside' if any(map(TOWER.match, model_names(weights))) else 'beside'} the checkpoint"


def _recipe(config: Any, vision_config: Any) -> str:
    """Which of LLaVA's recipes a configuration is of; what speaks for none is LLaVA."""
    if has_tiles(config):
        onevision = most_tiles(config) is not None and not has_cls(vision_config)
        return "LLaVA-OneVision" if onevision else "LLaVA-NeXT"
    return "LLaVA-1.5" if str(getattr(config, "mm_projector_type", None)).startswith("mlp") else "LLaVA"


def _tower(config: Any, vision_config: Any) -> str:
    name = "CLIP" if has_cls(vision_config) else "SigLIP"
    scales = scales_of(config, vision_config)
    at = f" at {', '.join(map(str, scales))} pixels" if scales else ""
    return f"{name} {vision_config.image_size}/{vision_config.patch_size}{at}"


def _pictures(config: Any, geometry: Geometry) -> str:
    if geometry.frames:
        return f"a video of {geometry.frames} frames ({geometry.most_tokens} tokens)"
    aspect = aspect_ratio(config)
    how = "centre crop" if aspect in (None, "square", "crop") else aspect
    views = f" up to {geometry.views} views" if has_tiles(config) else ", one view"
    with_cls = " with [CLS]" if select_feature(config) == "cls_patch" else ""
    return f"{how}{views} ({geometry.most_tokens} tokens{with_cls})"
