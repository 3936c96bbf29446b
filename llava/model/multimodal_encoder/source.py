"""Where a checkpoint's vision tower is: inside it, beside it, at a path, or on a hub; and its geometry."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.model.checkpoint.folder import Folder
from llava.model.multimodal_encoder.tower_configs import KNOWN_TOWERS, read_geometry, tower_config

__all__ = ["KNOWN_TOWERS", "TowerSource", "locate_tower", "tower_config"]

# Encoders of other kinds that LLaVA's repositories name. A folder's config.json says what it is, whatever its name.
_OTHER_KINDS = re.compile(r"eva[-_]?\d*([-_]|clip)|imagebind|open[-_]?clip|dino|intern[-_]?vi|mlcd|convnext|^hf:", re.I)


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
    config: Any
    checkpoint: Folder | None = None
    own: bool = False
    published: bool = False


def locate_tower(
    name: str,
    checkpoint: str | Folder | None,
    embedded: dict[str, Any] | None = None,
    base: str | Folder | None = None,
) -> TowerSource:
    """Find a vision tower's configuration without loading weights.

    Looked for in this order: a folder `name` inside the checkpoint or its base, a folder `name`, the configuration
    written in the checkpoint (`mm_vision_config`), the table of published towers, and the hub.

    Args:
        name: the checkpoint's `mm_vision_tower`.
        checkpoint: the checkpoint, if it comes from one.
        embedded: the checkpoint's `mm_vision_config`, if it has one.
        base: what an adapter or a projector was trained on.

    Raises:
        InputError: when it is nowhere, or no CLIP or SigLIP encoder, or its geometry cannot be.
    """
    place = Folder(checkpoint) if isinstance(checkpoint, str) else checkpoint
    folders = [Path(place.path, name)] if place else []
    if base is not None:
        folders.append(Path(base.path if isinstance(base, Folder) else base, name))
    folder = next((path for path in [*folders, Path(name)] if (path / "config.json").is_file()), None)
    own = embedded is not None
    if folder is not None:
        return TowerSource(str(folder), read_geometry(Folder(str(folder))), place, own)
    if embedded is not None:
        where = place.path if place else name
        return TowerSource(None, tower_config(embedded, "mm_vision_config", where), place, own, name in KNOWN_TOWERS)
    if name in KNOWN_TOWERS:
        return TowerSource(name, tower_config(KNOWN_TOWERS[name], "a known tower", name), place, published=True)
    _refuse_other_kinds(name)
    looks_local = os.path.isabs(name) or name.startswith(".") or name.count("/") != 1
    if not looks_local and Folder(name).find("config.json"):
        return TowerSource(name, read_geometry(Folder(name)), place)
    looked = [str(path) for path in [*folders, Path(name)]]
    raise InputError(
        f"the checkpoint's vision tower must be reachable: got mm_vision_tower {shown(name)}, looked for a config.json "
        f"in {' and '.join(looked)}{'' if looks_local else ' and on the hub'}; put the tower's folder there or mend "
        f"the entry"
    )


def _refuse_other_kinds(name: str) -> None:
    """Refuse a name of an encoder that is neither CLIP nor SigLIP; nothing else can take its place."""
    if _OTHER_KINDS.search(name):
        raise InputError(
            f"the vision tower must be a CLIP or SigLIP encoder: got mm_vision_tower {shown(name)}, which is another "
            f"kind; the nearest that work are checkpoints with {' or '.join(reversed(KNOWN_TOWERS))}"
        )
