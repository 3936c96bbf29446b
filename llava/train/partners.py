"""Flags that mean something only beside another one: alone they would be lost without a word."""

from collections.abc import Set
from typing import Any

from llava.errors import InputError, shown

# A flag, and the one that it does nothing without.
PARTNERS = {
    **dict.fromkeys(("lora_r", "lora_alpha", "lora_dropout", "lora_bias", "lora_qv_proj_only"), "lora_enable"),
    **dict.fromkeys(("quant_type", "double_quant"), "bits"),
}


def check_partners(said: Set[str], model: Any, data: Any, training: Any) -> None:
    """Refuse flags whose partner is missing, or that ask for opposite things.

    Args:
        said: names of the flags on the command line. One that is said to be off is there.

    Raises:
        InputError: naming both.
    """
    for name, partner in PARTNERS.items():
        if name in said and partner not in said:
            raise InputError(f"--{name} does nothing without --{partner}: add that, or leave --{name} out")
    if "image_grid_pinpoints" in said and "anyres" not in str(data.image_aspect_ratio):
        raise InputError(
            f"--image_grid_pinpoints is for pictures in tiles: got --image_aspect_ratio "
            f"{shown(data.image_aspect_ratio)}; say anyres, or leave the grids out"
        )
    if training.mm_projector_lr is not None and training.freeze_mm_mlp_adapter:
        raise InputError("--mm_projector_lr is for a projector that is trained: got --freeze_mm_mlp_adapter; drop one")
    if training.learning_rate == 0 and not training.mm_projector_lr and not training.mm_vision_tower_lr:
        raise InputError("--learning_rate must be above 0 where no other rate is: got 0, at which nothing is learned")
    for name in ("vision_tower", "version", "mm_projector_type"):
        if getattr(model, name) == "":
            raise InputError(f"--{name} must have a value: got an empty one; give it, or leave the flag out")
