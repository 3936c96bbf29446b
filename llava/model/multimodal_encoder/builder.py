"""Building a checkpoint's vision tower."""

from typing import Any

from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.source import KNOWN_TOWERS, TowerSource, locate_tower

__all__ = ["KNOWN_TOWERS", "TowerSource", "build_image_processor", "build_vision_tower", "locate_tower"]


def build_vision_tower(vision_tower_cfg: Any, delay_load: bool = False, **_: Any) -> CLIPVisionTower:
    """The tower a LLaVA configuration names.

    Args:
        vision_tower_cfg: has `mm_vision_tower` (or `vision_tower`, as training's arguments do) and perhaps
            `mm_vision_config` (CLIP's settings as a dict), `mm_vision_select_layer` (default -2) and
            `mm_vision_select_feature` (default `patch`).
        delay_load: leave the weights to `load_model`, or to whoever fills the model the tower is part of.
    """
    name = getattr(vision_tower_cfg, "mm_vision_tower", None) or getattr(vision_tower_cfg, "vision_tower", None)
    return CLIPVisionTower(name, vision_tower_cfg, delay_load)
