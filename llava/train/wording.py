"""What other rooms say of a checkpoint's config.json, said of training's flags, where the values come from those."""

from collections.abc import Iterator
from contextlib import contextmanager

from llava.errors import InputError

FLAGS = (
    *("mm_vision_select_layer", "mm_vision_select_feature", "mm_patch_merge_type", "mm_projector_type"),
    *("image_aspect_ratio", "image_grid_pinpoints"),
)
SAID = {
    "check --model-path and --model-base": "check --model_name_or_path",
    "the checkpoint's vision tower must be reachable: got mm_vision_tower": "--vision_tower must be reachable: got",
    "mend config.json or use the tower the checkpoint was trained with": (
        "name the tower it was trained with (--vision_tower, or TOWER; mm_vision_tower in its config.json)"
    ),
    "put the tower's folder there or mend the entry": "name a folder or a hub id",
}


@contextmanager
def in_flags() -> Iterator[None]:
    """InputErrors that leave the block name flags and their remedies."""
    try:
        yield
    except InputError as error:
        raise InputError(reworded(str(error))) from error


def reworded(text: str) -> str:
    """A message in training's words."""
    for other, own in SAID.items():
        text = text.replace(other, own)
    for name in FLAGS:
        if text.startswith((f"{name} must", f"unknown {name}")):
            rule, _, remedy = text.rpartition("; ")
            text = (rule or remedy).replace(name, f"--{name}", 1) + f"; change --{name}"
    return text
