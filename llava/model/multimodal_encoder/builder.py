"""Building a checkpoint's vision tower."""

from typing import Any

from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower, CLIPVisionTowerS2
from llava.model.multimodal_encoder.image_processor import build_image_processor
from llava.model.multimodal_encoder.siglip_encoder import SigLipVisionTower
from llava.model.multimodal_encoder.source import KNOWN_TOWERS, TowerSource, locate_tower
from llava.model.multimodal_encoder.tower_configs import CLIP, SIGLIP
from llava.model.multimodal_encoder.vision_tower import VisionTower

__all__ = ["KNOWN_TOWERS", "TowerSource", "build_image_processor", "build_vision_tower", "locate_tower"]

_TOWERS: dict[str, type[VisionTower]] = {
    CLIP: CLIPVisionTower,
    SIGLIP: SigLipVisionTower,
}


def build_vision_tower(vision_tower_cfg: Any, delay_load: bool = False, **_: Any) -> VisionTower:
    """The tower a LLaVA configuration names; its own configuration says of which kind it is.

    Args:
        vision_tower_cfg: has `mm_vision_tower` (or `vision_tower`, as training's arguments do) and perhaps
            `mm_vision_config` (the encoder's settings as a dict), `mm_vision_select_layer` (default -2),
            `mm_vision_select_feature` (default `patch`), `s2` and `s2_scales`.
        delay_load: leave the weights to `load_model`, or to whoever fills the model the tower is part of.

    Raises:
        InputError: when the tower is nowhere, of another kind, or cannot do what is asked of it.
    """
    name = getattr(vision_tower_cfg, "mm_vision_tower", None) or getattr(vision_tower_cfg, "vision_tower", None)
    embedded, checkpoint = (getattr(vision_tower_cfg, key, None) for key in ("mm_vision_config", "name_or_path"))
    if embedded is not None:
        kind = embedded.get("model_type", CLIP)
    else:
        kind = locate_tower(name, checkpoint or None).config.model_type if name else CLIP
    tower = _TOWERS.get(kind, CLIPVisionTower) if isinstance(kind, str) else CLIPVisionTower
    if getattr(vision_tower_cfg, "s2", None) and tower is CLIPVisionTower:
        tower = CLIPVisionTowerS2
    return tower(name, vision_tower_cfg, delay_load)
