"""Where a checkpoint's vision tower is: inside it, beside it, at a path, or on a hub; and its geometry."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig

from llava.errors import InputError, shown
from llava.files.reading import reason
from llava.model.checkpoint.config import ACTIVATIONS, DOES_NOT_FIT, with_points
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.rules import Rule, check, number, one_of, whole

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
MOST_PATCHES_ON_A_SIDE = 256


@dataclass(frozen=True)
class TowerSource:
    """Where a vision tower comes from.

    Attributes:
        name: a folder or a hub id; None where only the geometry is known.
        config: the encoder's configuration.
        checkpoint: the checkpoint that names it.
        own: the checkpoint carries the tower with itself, as one that was saved here does.
        published: one of `KNOWN_TOWERS` by name, which needs no files but its weights.
    """

    name: str | None
    config: CLIPVisionConfig
    checkpoint: Folder | None = None
    own: bool = False
    published: bool = False


def locate_tower(name: str, checkpoint: str | Folder | None, embedded: dict[str, Any] | None = None) -> TowerSource:
    """Find a vision tower's configuration without loading weights.

    Looked for in this order: a folder `name` inside the checkpoint, a folder `name`, the configuration written in the
    checkpoint (`mm_vision_config`), the table of published towers, and the hub.

    Args:
        name: the checkpoint's `mm_vision_tower`.
        checkpoint: the checkpoint, if it comes from one.
        embedded: the checkpoint's `mm_vision_config`, if it has one.

    Raises:
        InputError: when it is nowhere, or no CLIP encoder, or its geometry cannot be.
    """
    place = Folder(checkpoint) if isinstance(checkpoint, str) else checkpoint
    folders = [Path(place.path, name)] if place else []
    folder = next((path for path in [*folders, Path(name)] if (path / "config.json").is_file()), None)
    own = embedded is not None
    if folder is not None:
        return TowerSource(str(folder), _read_geometry(Folder(str(folder))), place, own)
    if embedded is not None:
        where = place.path if place else name
        return TowerSource(None, tower_config(embedded, "mm_vision_config", where), place, own, name in KNOWN_TOWERS)
    if name in KNOWN_TOWERS:
        return TowerSource(name, CLIPVisionConfig(**KNOWN_TOWERS[name]), place, published=True)
    looks_local = os.path.isabs(name) or name.startswith(".") or name.count("/") != 1
    if not looks_local and Folder(name).find("config.json"):
        return TowerSource(name, _read_geometry(Folder(name)), place)
    looked = [str(path) for path in [*folders, Path(name)]]
    raise InputError(
        f"the checkpoint's vision tower must be reachable: got mm_vision_tower {shown(name)}, looked for a config.json "
        f"in {' and '.join(looked)}{'' if looks_local else ' and on the hub'}; put the CLIP folder there or mend the "
        f"entry"
    )


def _read_geometry(folder: Folder) -> CLIPVisionConfig:
    raw = folder.read_object("config.json") or {}
    if raw.get("model_type") not in ("clip", "clip_vision_model"):
        raise InputError(
            f"the vision tower must be a CLIP encoder: got model_type {shown(raw.get('model_type'))} in {folder.path}, "
            f"expected clip or clip_vision_model"
        )
    whole_clip = raw["model_type"] == "clip"
    vision = raw.get("vision_config") if whole_clip else raw
    if not isinstance(vision, dict):
        raise InputError(
            f"a vision tower's config.json must fit: {shown(folder.path, 300)} has vision_config {shown(vision)}, "
            f"expected the encoder's settings; fetch the file again"
        )
    return tower_config(vision, "a vision tower's config.json", folder.path)


def tower_config(settings: dict[str, Any], what: str, where: str) -> CLIPVisionConfig:
    """A CLIP encoder's geometry. Nothing else in its settings is used: they choose no code.

    Raises:
        InputError: naming the first value that cannot be.
    """
    geometry = {name: value for name, value in settings.items() if name in GEOMETRY}
    check(geometry, GEOMETRY, what, where)
    try:
        config = CLIPVisionConfig(**with_points(geometry))
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
