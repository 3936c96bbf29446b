"""What a method leaves of OneVision's videos, whose frames are views without tiles."""

import inspect
from typing import Any

import torch
from accelerate.utils import align_module_device
from transformers.modeling_outputs import BaseModelOutputWithPooling

from llava.errors import InputError
from llava.hf.llava_eyes import Eyes, LlavaSeeing, as_llava_says
from llava.hf.note import Entering, Note, Pictures
from llava.hf.seeing import Seeing
from llava.model.geometry import video_geometry_of
from llava.reduction.base import name_of


class OnevisionSeeing(LlavaSeeing):
    """OneVision's inner model in a call."""

    takes_videos = True

    def get_video_features(self, *args: Any, **kwargs: Any) -> Any:
        """transformers' call. Frames of which a part is kept are not pooled, and no newline ends the video."""
        note: Note = self.__dict__["note"]
        host: Any = super()
        given = inspect.signature(host.get_video_features).bind(*args, **kwargs).arguments
        pixels = next(value for name, value in given.items() if name.startswith("pixel_values"))
        said = _said(self.config)
        eyes = Eyes(self, said, *_seen_at(self.config, given))
        geometry = video_geometry_of(said, eyes.get_vision_tower().config, pixels.shape[1])
        whole, token = geometry.most_tokens, self.config.video_token_id
        if not note.plan.acts_before:
            if note.plan.inside.layers:
                raise _of_frames(note)
            note.pictures[token] = Pictures((whole,) * len(pixels))
            with align_module_device(self):
                return host.get_video_features(*args, **kwargs)
        method = note.plan.for_frames(geometry)
        if method.layers:
            raise _of_frames(note)
        tokens, counts = eyes.encode_views(list(pixels), None, method, note.trace, ["video"] * len(pixels))
        sources = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)  # positions are counted anew
        note.pictures[token] = Pictures((whole,) * len(pixels), Entering(tokens, tuple(counts), sources))
        # Since transformers encodes before the first call (5.18), the newline is part of what it encodes.
        own_class: Any = next(kind for kind in type(self).__mro__ if not issubclass(kind, Seeing))
        own = whole if "mm_encoder_outputs" in inspect.signature(own_class.forward).parameters else whole - 1
        return BaseModelOutputWithPooling(pooler_output=tokens.new_zeros(()).expand(len(pixels), own, tokens.shape[1]))


def _said(config: Any) -> Any:
    """What LLaVA's configuration would say of videos: shrunk to half a side, one newline behind the last frame."""
    said = as_llava_says(config)
    said.mm_spatial_pool_mode, said.mm_newline_position = "bilinear", "one_token"
    return said


def _seen_at(config: Any, given: dict[str, Any]) -> tuple[int, str]:
    """The layer whose states are the features, and whether [CLS] stays; see `tower_of`."""
    layer, strategy = given.get("vision_feature_layer"), given.get("vision_feature_select_strategy")
    layer = config.vision_feature_layer if layer is None else layer
    return layer, config.vision_feature_select_strategy if strategy is None else strategy


def _of_frames(note: Note) -> InputError:
    return InputError(
        f"OneVision's videos are reduced before the LLM alone: got {name_of(note.plan.inside)}, which drops between "
        f"its layers; take a method that does not (visionzip), or pass the frames as pictures"
    )
