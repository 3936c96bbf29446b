"""Finding and building a checkpoint's vision tower: inside it, beside it, at a path, or on a hub."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.errors import InputError
from llava.image_config import select_feature
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower

# Geometry of the published towers, so that a checkpoint which holds the tower's weights needs no hub.
_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14-336": _LARGE | {"image_size": 336},
    "openai/clip-vit-large-patch14": _LARGE | {"image_size": 224},
}


@dataclass(frozen=True)
class TowerSource:
    """Where a vision tower comes from.

    Attributes:
        name: a folder or a hub id; None where only the geometry is known.
        config: the encoder's configuration.
    """

    name: str | None
    config: CLIPVisionConfig


def locate_tower(name: str, checkpoint: str | None, embedded: dict[str, Any] | None = None) -> TowerSource:
    """Find a vision tower's configuration without loading weights.

    Looked for in this order: a folder `name` inside the checkpoint, a folder `name`, the configuration written in the
    checkpoint (`mm_vision_config`), the table of published towers, and the hub.

    Args:
        name: the checkpoint's `mm_vision_tower`.
        checkpoint: the checkpoint's folder, if it is one.
        embedded: the checkpoint's `mm_vision_config`, if it has one.

    Raises:
        InputError: when it is nowhere, or no CLIP encoder.
    """
    folders = [Path(checkpoint, name)] if checkpoint else []
    folder = next((path for path in [*folders, Path(name)] if (path / "config.json").is_file()), None)
    if folder is not None:
        return TowerSource(str(folder), _read_config(str(folder)))
    if embedded is not None:
        return TowerSource(None, CLIPVisionConfig(**embedded))
    if name in KNOWN_TOWERS:
        return TowerSource(name, CLIPVisionConfig(**KNOWN_TOWERS[name]))
    looks_local = os.path.isabs(name) or name.startswith(".") or name.count("/") != 1
    if not looks_local:
        with contextlib.suppress(OSError):
            return TowerSource(name, _read_config(name))
    looked = [str(path) for path in [*folders, Path(name)]]
    raise InputError(
        f"the checkpoint's vision tower must be reachable: got mm_vision_tower '{name}', looked for a config.json in "
        f"{' and '.join(looked)}{'' if looks_local else ' and on the hub'}; put the CLIP folder there or mend the entry"
    )


def _read_config(name: str) -> CLIPVisionConfig:
    from transformers import PreTrainedConfig

    raw, _ = PreTrainedConfig.get_config_dict(name)
    if raw.get("model_type") not in ("clip", "clip_vision_model"):
        raise InputError(
            f"the vision tower must be a CLIP encoder: got model_type '{raw.get('model_type')}' in {name}, expected "
            f"clip or clip_vision_model"
        )
    return CLIPVisionConfig.from_pretrained(name)


def build_image_processor(source: TowerSource) -> CLIPImageProcessorPil:
    """The tower's Pillow image processor; CLIP's usual steps at its resolution where no file says otherwise."""
    if source.name is not None and source.name not in KNOWN_TOWERS:
        try:
            return CLIPImageProcessorPil.from_pretrained(source.name)
        except OSError:
            pass  # A tower folder may come without preprocessor_config.json.
    side = source.config.image_size
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def build_vision_tower(vision_tower_cfg: Any, **_: Any) -> CLIPVisionTower:
    """The tower a LLaVA configuration names, with weights still to be loaded.

    Args:
        vision_tower_cfg: has `mm_vision_tower` and perhaps `mm_vision_config` (CLIP's settings as a dict),
            `mm_vision_select_layer` (default -2) and `mm_vision_select_feature` (default `patch`).
    """
    embedded = getattr(vision_tower_cfg, "mm_vision_config", None)
    config = CLIPVisionConfig(**embedded) if embedded else locate_tower(vision_tower_cfg.mm_vision_tower, None).config
    # The language model's choice of attention kernel holds for the tower, except that flash attention needs 16 bits.
    chosen = getattr(vision_tower_cfg, "_attn_implementation", None)
    config._attn_implementation = chosen if chosen in ("eager", "sdpa", "flash_attention_2") else "sdpa"
    select_layer = getattr(vision_tower_cfg, "mm_vision_select_layer", -2)
    return CLIPVisionTower(config, select_layer, select_feature(vision_tower_cfg))
