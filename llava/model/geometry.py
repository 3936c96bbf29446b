"""What a reduction method must fit into, read from the configurations of a model and its vision tower."""

from typing import Any

from llava.image_config import most_tokens, most_views
from llava.model.multimodal_encoder.scales import view_size
from llava.model.multimodal_encoder.tower_configs import has_cls
from llava.reduction import Geometry
from llava.video_config import check_video_config, video_tokens


def geometry_of(config: Any, vision_config: Any) -> Geometry:
    """The geometry of a model for pictures.

    Args:
        config: LLaVA's; has `num_hidden_layers` and what is said about pictures.
        vision_config: the vision tower's; has `model_type`, and `image_size` and `patch_size` in pixels.
    Raises:
        InputError: for settings about pictures that are not known.
    """
    edge = view_size(config, vision_config)
    side = vision_config.image_size // vision_config.patch_size
    return Geometry(
        config.num_hidden_layers,
        side * side,
        most_views(config, edge),
        has_cls(vision_config),
        unreduced=most_tokens(config, edge, side),
        encoder_layers=vision_config.num_hidden_layers,
    )


def video_geometry_of(config: Any, vision_config: Any, frames: int) -> Geometry:
    """The geometry of a model for a video of `frames` frames, each of which is one view.

    Raises:
        InputError: for settings about videos that are not known.
    """
    check_video_config(config)
    side = vision_config.image_size // vision_config.patch_size
    return Geometry(
        config.num_hidden_layers,
        side * side,
        frames,
        has_cls(vision_config),
        unreduced=video_tokens(config, side, frames),
        frames=frames,
    )
