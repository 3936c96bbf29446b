"""What a method leaves of the pictures of transformers' LLaVA, LLaVA-NeXT and OneVision."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import torch
from accelerate.utils import align_module_device
from transformers.modeling_outputs import BaseModelOutputWithPooling

from llava.errors import InputError
from llava.hf.llava_tower import TOWERS, tower_of
from llava.hf.note import Entering, Note, Pictures
from llava.hf.seeing import Seeing
from llava.model.devices import tensor_of
from llava.model.geometry import geometry_of, image_geometry_of
from llava.model.image_entries import Sizes
from llava.model.view_tokens import ViewTokens
from llava.pinpoints import get_anyres_image_grid_shape
from llava.reduction.base import Geometry


def as_llava_says(config: Any, aspect: str | None = None) -> SimpleNamespace:
    """What LLaVA's own configuration would say about pictures and the LLM's depth.

    Args:
        config: transformers'.
        aspect: OneVision's `vision_aspect_ratio`; None: the configuration's.
    """
    full = config.vision_feature_select_strategy == "full" and "clip" in config.vision_config.model_type
    said = SimpleNamespace(
        num_hidden_layers=config.text_config.num_hidden_layers,
        mm_vision_select_feature="cls_patch" if full else "patch",
        image_aspect_ratio="pad",
        mm_patch_merge_type="flat",
    )
    pinpoints = getattr(config, "image_grid_pinpoints", None)
    if pinpoints is not None:  # (height, width) there
        said.image_grid_pinpoints = [list(pair[::-1]) for pair in pinpoints]
        said.image_aspect_ratio = aspect or getattr(config, "vision_aspect_ratio", "anyres")
        said.mm_patch_merge_type = "spatial_unpad"
    return said


def clip_geometry(model: Any) -> Geometry:
    """Of a model whose tower is CLIP or SigLIP.

    Raises:
        InputError: for another tower, or features of several layers.
    """
    config, tower = model.config, model.model.vision_tower
    layer = config.vision_feature_layer
    if type(tower) not in TOWERS or not isinstance(layer, int):
        raise InputError(
            f"the vision tower must be CLIP or SigLIP, seen at one layer: got {type(tower).__name__} at {layer}; "
            f"use the model that was given"
        )
    made = geometry_of(as_llava_says(config), tower.config)
    return dataclasses.replace(made, encoder_layers=tower.config.num_hidden_layers)


class Eyes(ViewTokens):
    """A tower, a projector and a newline of transformers' under this project's names.

    Args:
        inner: transformers' model without its head.
        said: see `as_llava_says`.
        layer, strategy: see `tower_of`.
    """

    def __init__(self, inner: Any, said: SimpleNamespace, layer: int, strategy: str) -> None:
        self.config, self._tower = said, tower_of(inner.vision_tower, layer, strategy)
        newline = tensor_of(inner, "image_newline")
        self._model = SimpleNamespace(mm_projector=inner.multi_modal_projector, image_newline=newline)

    def get_vision_tower(self) -> Any:
        """The tower."""
        return self._tower

    def get_model(self) -> Any:
        """What holds the projector and the newline."""
        return self._model


class LlavaSeeing(Seeing):
    """transformers' inner model in a call."""

    def get_image_features(self, pixel_values: torch.Tensor, image_sizes: Any = None, **kwargs: Any) -> Any:
        """transformers' call. Where the method acts before the LLM the features are stand-ins: none of them enters."""
        note: Note = self.__dict__["note"]
        if not note.plan.acts_before:
            with align_module_device(self):  # the newline, where weights are kept elsewhere between calls
                made = super().get_image_features(pixel_values, image_sizes=image_sizes, **kwargs)
            note.pictures[self.config.image_token_id] = Pictures(
                tuple(len(features) for features in made.pooler_output)
            )
            return made
        layer, strategy = kwargs.get("vision_feature_layer"), kwargs.get("vision_feature_select_strategy")
        layer = self.config.vision_feature_layer if layer is None else layer
        strategy = self.config.vision_feature_select_strategy if strategy is None else strategy
        eyes = Eyes(self, as_llava_says(self.config, kwargs.get("vision_aspect_ratio")), layer, strategy)
        sizes = _sizes(image_sizes) if hasattr(eyes.config, "image_grid_pinpoints") else None
        views = _views(pixel_values, sizes, eyes, kwargs.get("batch_num_images"))
        tokens, counts = eyes.encode_views(views, sizes, note.plan.inside, note.trace)
        sources = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)  # positions are counted anew
        whole = _unreduced(eyes, views, sizes)
        note.pictures[self.config.image_token_id] = Pictures(tuple(whole), Entering(tokens, tuple(counts), sources))
        stand_in = tokens.new_zeros(())
        return BaseModelOutputWithPooling(pooler_output=[stand_in.expand(own, tokens.shape[1]) for own in whole])


def _sizes(image_sizes: Any) -> Sizes:
    """(height, width) of each picture -> (width, height)."""
    return [(width, height) for height, width in torch.as_tensor(image_sizes).tolist()]


def _views(pixels: torch.Tensor, sizes: Sizes | None, eyes: Eyes, batch_num_images: Any) -> list[torch.Tensor]:
    """Each picture's own views (v, 3, h, w), of pixels that are filled up to the most, or follow one another."""
    if sizes is None:
        return list(pixels.split(1))
    alone = [True] * len(sizes)
    if batch_num_images is not None:
        alone = [number == 1 for number in torch.as_tensor(batch_num_images).tolist() for _ in range(number)]
    edge, pinpoints = eyes.get_vision_tower().image_size, eyes.config.image_grid_pinpoints
    counts = []
    for size, tiled in zip(sizes, alone, strict=True):
        assert size is not None
        columns, rows = get_anyres_image_grid_shape(size, pinpoints, edge) if tiled else (0, 0)
        counts.append(1 + columns * rows)
    if pixels.ndim == 5:
        return [own[:count] for own, count in zip(pixels, counts, strict=True)]
    return list(pixels.split(counts))


def _unreduced(eyes: Eyes, views: list[torch.Tensor], sizes: Sizes | None) -> list[int]:
    """Tokens of each picture in the prompt."""
    vision = eyes.get_vision_tower().config
    each: Sizes = [None] * len(views) if sizes is None else list(sizes)
    return [image_geometry_of(eyes.config, vision, len(own), size).most_tokens for own, size in zip(views, each)]
