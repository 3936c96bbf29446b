"""`s2` of a LLaVA configuration: the scales at which a picture is seen, and what follows for pixels and widths."""

from typing import Any

from llava.errors import InputError, shown
from llava.model.multimodal_encoder.tower_configs import has_cls

DEFAULT = "336,672,1008"
_MOST = 16  # scales, and squares along one side of the largest


def scales_of(config: Any, vision_config: Any) -> tuple[int, ...]:
    """The edges in pixels at which a picture is seen, rising; empty where `s2` is not set.

    Args:
        config: LLaVA's; `s2_scales` is written with commas, as `336,672,1008` (which is what it is when absent).
        vision_config: the encoder's; has `model_type` and `image_size`.

    Raises:
        InputError: for scales that cannot be read, or of which the smallest is not the encoder's own and the others
            are not whole numbers of it (pictures are cut into squares that the encoder takes); for SigLIP, with which
            LLaVA has no scales.
    """
    if not getattr(config, "s2", None):
        return ()
    if not has_cls(vision_config):
        raise InputError(
            "towers that see a picture at several scales are CLIP's: got s2 true with a SigLIP tower; use a checkpoint "
            "without s2, or with CLIP"
        )
    edge = vision_config.image_size
    written = getattr(config, "s2_scales", None)
    parts = str(DEFAULT if written is None else written).split(",")
    scales = sorted(int(part) for part in parts if part.strip().isascii() and part.strip().isdigit() and len(part) < 9)
    whole = len(scales) == len(parts) <= _MOST and all(scale % edge == 0 for scale in scales)
    if not whole or len(set(scales)) != len(scales) or scales[0] != edge or scales[-1] > _MOST * edge:
        raise InputError(
            f"s2_scales must name the vision tower's own size and whole numbers of it, each once: got "
            f"{shown(written if written is not None else DEFAULT)}, expected something like "
            f"{edge},{2 * edge},{3 * edge}; mend config.json or use the tower that the checkpoint was trained with"
        )
    return tuple(scales)


def view_size(config: Any, vision_config: Any) -> int:
    """Edge of a view in pixels: the encoder's own, or that of the largest scale."""
    return max(scales_of(config, vision_config), default=vision_config.image_size)


def feature_width(config: Any, vision_config: Any) -> int:
    """Width of a patch's features: the encoder's own, once for each scale."""
    return vision_config.hidden_size * max(1, len(scales_of(config, vision_config)))
