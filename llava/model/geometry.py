"""What a reduction method must fit into, read from the configurations of a model and its vision tower."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from transformers import MptConfig

from llava.image_config import most_of_parts, most_views, select_feature
from llava.model.assembly import parts_of
from llava.model.forms import forms_of, rules_of
from llava.model.multimodal_encoder.scales import scales_of, view_size
from llava.model.multimodal_encoder.tower_configs import has_cls, layers_there
from llava.reduction import Geometry
from llava.reduction.encoder_evidence import NEWLINE
from llava.video_config import check_video_config, newlines, pool_mode, pooled_side, video_tokens


def geometry_of(config: Any, vision_config: Any) -> Geometry:
    """The geometry of a model for pictures.

    Args:
        config: LLaVA's; has `num_hidden_layers` and what is said about pictures.
        vision_config: the vision tower's; has `model_type`, and `image_size` and `patch_size` in pixels.
    Raises:
        InputError: for settings about pictures that are not known.
    """
    edge = view_size(config, vision_config)
    *parts, newlines = most_of_parts(config, edge, side_of(vision_config))
    return _geometry(config, vision_config, most_views(config, edge), parts, newlines)


def video_geometry_of(config: Any, vision_config: Any, frames: int) -> Geometry:
    """The geometry of a model for a video of `frames` frames, each of which is one view.

    Raises:
        InputError: for settings about videos that are not known.
    """
    check_video_config(config)
    tokens = video_tokens(config, side_of(vision_config), frames)
    ends = newlines(config, frames, pooled_side(side_of(vision_config), pool_mode(config)))
    return _geometry(config, vision_config, frames, [(tokens - ends) // frames] * frames, ends, frames)


def image_geometry_of(
    config: Any, vision_config: Any, views: int, size: tuple[int, int] | None = None, modality: str = "image"
) -> Geometry:
    """The geometry of one image: its own views, and its own tokens where nothing is dropped.

    Args:
        views: how many it has.
        size: (width, height) of the picture in pixels; needed where it has tiles.
        modality: see `llava.model.image_entries.MODALITIES`.
    Raises:
        InputError: for views that are not those of a picture of its size.
    """
    if modality == "video":
        return video_geometry_of(config, vision_config, views)
    rules = rules_of(config, side_of(vision_config), video=False)
    (form,) = forms_of(config, view_size(config, vision_config), [views], [size], [modality])
    parts = parts_of(form, rules)
    base, newlines = int((parts == 0).sum()), int((parts == NEWLINE).sum())
    return _geometry(config, vision_config, views, [base, len(parts) - base - newlines], newlines)


def side_of(vision_config: Any) -> int:
    """Patches along one side of a view."""
    return vision_config.image_size // vision_config.patch_size


def drops_inside(config: Any) -> bool:
    """Whether tokens may be dropped between a language model's layers: not where distances are counted in tokens."""
    return not isinstance(config, MptConfig)


def _geometry(
    config: Any, vision_config: Any, views: int, parts: Sequence[int], newlines: int, frames: int = 0
) -> Geometry:
    """The geometry whose largest image has parts of so many tokens, [CLS] counted, and so many newlines."""
    has_more = select_feature(config) == "cls_patch"
    known = Geometry(
        config.num_hidden_layers,
        side_of(vision_config) ** 2,
        views,
        has_cls(vision_config),
        unreduced=sum(parts) + newlines,
        frames=frames,
        encoder_layers=layers_there(vision_config),
        scales=max(1, len(scales_of(config, vision_config))),
        cls_patch=has_more,
        stages=drops_inside(config),
    )
    # A part of whole views has one [CLS] in each.
    own = tuple(part - has_more * (part // (known.patches + 1)) for part in parts if part)
    return known if own == known.part_sizes else replace(known, parts=own)
