"""CLIP as LLaVA's eyes: the features of one layer, reduced where a method says so, and no layer after it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig

from llava.errors import InputError
from llava.model.evidence import ClipEvidence
from llava.model.multimodal_encoder.partial_clip import PartialCLIP
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
        layers_to_run = select_layer + depth + 1 if select_layer < 0 else select_layer
        if not 1 <= layers_to_run <= depth:
            raise InputError(
                f"mm_vision_select_layer must name a layer's output: got {select_layer}, expected {-depth} to -1 or "
                f"1 to {depth} for this encoder"
            )
        self.vision_tower = PartialCLIP(config)
        self.select_layer, self.select_feature = select_layer, select_feature
        self.layers_to_run = layers_to_run

    @property
    def last_layer(self) -> nn.Module:
        """The layer whose output the features are; those after it never run."""
        return self.vision_tower.encoder.layers[self.layers_to_run - 1]

    def entering_last(self, pixels: torch.Tensor) -> torch.Tensor:
        """(V, 3, height, width), any floating dtype and device -> (V, 1 + n, D), what enters `last_layer`."""
        return self._run(pixels, self.layers_to_run - 1).last_hidden_state

    def _run(self, pixels: torch.Tensor, layers: int) -> Any:
        return self.vision_tower(pixels.to(device=self.device, dtype=self.dtype), layers=layers)

    def encode(self, pixels: torch.Tensor, reduction: Reduction | None = None) -> Encoded:
        """Run the encoder up to the selected layer and keep what the method keeps.

        Args:
            pixels: (V, 3, height, width), any floating dtype and device; moved to the tower's.
        """
        selections: list[Selection | None] = []
        features = self(pixels, reduction, selections)
        return Encoded(features, selections[0])

    def forward(
        self, images: Any, reduction: Reduction | None = None, selections: list[Selection | None] | None = None
    ) -> Any:
        """LLaVA's call: (V, 3, h, w) -> (V, k, D), or a list of single images -> a list of (1, k, D).

        Args:
            reduction: what keeps a part of the patches; None: nothing is dropped.
            selections: what was kept is put into it, and the features stay in the tower's dtype; without it they come
                in the images' dtype, as LLaVA's do.
        """
        if isinstance(images, list):
            return [self(image[None], reduction) for image in images]
        output = self._run(images, self.layers_to_run)
        leaving = output.last_hidden_state
        evidence = ClipEvidence(self.last_layer, output.entering, leaving, images)
        selection = reduction.at_encoder(evidence) if reduction is not None else None
        features = leaving if self.select_feature == "cls_patch" else leaving[:, 1:]
        if selection is not None:
            features = self._kept(evidence, selection)
        if selections is None:
            return features.to(images.dtype)
        selections.append(selection)
        return features

    def _kept(self, evidence: ClipEvidence, selection: Selection) -> torch.Tensor:
        """(V, k, D): [CLS] where it is kept, dominant, contextual."""
        parts = [evidence.cls_token] if selection.keeps_cls else []
        parts.append(evidence.values.take_along_dim(selection.kept[..., None], dim=1))
        if selection.merged is not None:
            parts.append(selection.merged.values)
        return torch.cat(parts, dim=1)

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
