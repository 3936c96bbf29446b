"""CLIP as LLaVA's eyes: the features of one layer, reduced where a method says so, and no layer after it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from llava.errors import InputError, shown
from llava.model.evidence import ClipEvidence
from llava.reduction import Reduction, Selection


@dataclass(frozen=True)
class Encoded:
    """Features of V views.

    Attributes:
        features: (V, k, D): all patches, or [CLS] with `cls_patch`, or what a method kept: [CLS], dominant, contextual.
        selection: what was kept; None where nothing was dropped.
    """

    features: torch.Tensor
    selection: Selection | None


class CLIPVisionTower(nn.Module):
    """The vision tower, under LLaVA's names.

    Args:
        config: CLIP's own configuration.
        select_layer: index into the hidden states, 0 the embeddings, -2 the output of the second-to-last layer.
        select_feature: `patch` (without [CLS]) or `cls_patch`; a method that reduces in the encoder decides by itself.
    """

    is_loaded = True

    def __init__(self, config: CLIPVisionConfig, select_layer: int = -2, select_feature: str = "patch") -> None:
        super().__init__()
        if select_feature not in ("patch", "cls_patch"):
            raise InputError(
                f"mm_vision_select_feature must be known: got '{select_feature}', expected patch or cls_patch"
            )
        depth = config.num_hidden_layers
        if type(select_layer) is not int:
            raise InputError(
                f"mm_vision_select_layer must be a whole number: got {shown(select_layer)}; write it like -2"
            )
        layers_to_run = select_layer + depth + 1 if select_layer < 0 else select_layer
        if not 1 <= layers_to_run <= depth:
            raise InputError(
                f"mm_vision_select_layer must name a layer's output: got {select_layer}, expected {-depth} to -1 or "
                f"1 to {depth} for this encoder"
            )
        self.vision_tower = CLIPVisionModel(config)
        self.select_layer, self.select_feature = select_layer, select_feature
        self.layers_to_run = layers_to_run

    @property
    def last_layer(self) -> nn.Module:
        """The layer whose output the features are; those after it never run."""
        return self.vision_tower.encoder.layers[self.layers_to_run - 1]

    def entering_last(self, pixels: torch.Tensor) -> torch.Tensor:
        """(V, 3, height, width), any floating dtype and device -> (V, 1 + n, D), what enters `last_layer`."""
        tower, edge = self.vision_tower, self.config.image_size
        if tuple(pixels.shape[2:]) != (edge, edge):
            raise InputError(
                f"a view must have the size that the vision tower takes: got {' x '.join(map(str, pixels.shape[2:]))} "
                f"pixels, expected {edge} x {edge}; prepare images with llava.mm_utils.process_images and the model's "
                f"own image processor"
            )
        hidden = tower.pre_layrnorm(tower.embeddings(pixels.to(device=self.device, dtype=self.dtype)))
        for layer in tower.encoder.layers[: self.layers_to_run - 1]:
            hidden = layer(hidden, attention_mask=None)
        return hidden

    def encode(self, pixels: torch.Tensor, reduction: Reduction | None = None) -> Encoded:
        """Run the encoder up to the selected layer and keep what the method keeps.

        Args:
            pixels: (V, 3, height, width), any floating dtype and device; moved to the tower's.
        """
        last, hidden = self.last_layer, self.entering_last(pixels)
        leaving = last(hidden, attention_mask=None)

        evidence = ClipEvidence(last, hidden, leaving, pixels)
        selection = reduction.at_encoder(evidence) if reduction is not None else None
        if selection is None:
            return Encoded(leaving if self.select_feature == "cls_patch" else leaving[:, 1:], None)
        parts = [evidence.cls_token] if selection.keeps_cls else []
        parts.append(evidence.values.take_along_dim(selection.kept[..., None], dim=1))
        if selection.merged is not None:
            parts.append(selection.merged.values)
        return Encoded(torch.cat(parts, dim=1), selection)

    def forward(self, images: Any) -> Any:
        """LLaVA's call: (V, 3, h, w) -> (V, k, D), or a list of single images -> a list of (1, k, D); unreduced."""
        if isinstance(images, list):
            return [self.encode(image[None]).features.to(image.dtype) for image in images]
        return self.encode(images).features.to(images.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the weights."""
        return self.vision_tower.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.vision_tower.device

    @property
    def config(self) -> CLIPVisionConfig:
        """CLIP's configuration."""
        return self.vision_tower.config

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.config.hidden_size

    @property
    def num_patches_per_side(self) -> int:
        """24 for 336 pixels in patches of 14."""
        return self.config.image_size // self.config.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of one view, [CLS] not counted."""
        return self.num_patches_per_side**2
