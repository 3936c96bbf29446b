"""What a reduction method must fit into, read from the configurations of a model and its vision tower."""

from typing import Any

from llava.image_config import most_tokens, most_views
from llava.reduction import Geometry
from llava.video_config import check_video_config, video_tokens


def geometry_of(config: Any, vision_config: Any) -> Geometry:
    """The geometry of a model for pictures.

    Args:
        config: LLaVA's; has `num_hidden_layers` and what is said about pictures.
        vision_config: the vision tower's; has `image_size` and `patch_size` in pixels.
    Raises:
        InputError: for settings about pictures that are not known.
    """
    edge = vision_config.image_size
    side = edge // vision_config.patch_size
    unreduced = most_tokens(config, edge, side)
    return Geometry(config.num_hidden_layers, side * side, most_views(config, edge), unreduced=unreduced)


def video_geometry_of(config: Any, vision_config: Any, frames: int) -> Geometry:
    """The geometry of a model for a video of `frames` frames, each of which is one view.

    Raises:
        InputError: for settings about videos that are not known.
    """
    check_video_config(config)
    side = vision_config.image_size // vision_config.patch_size
    unreduced = video_tokens(config, side, frames)
    return Geometry(config.num_hidden_layers, side * side, frames, unreduced=unreduced, frames=frames)
