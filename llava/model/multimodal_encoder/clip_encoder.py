"""CLIP as LLaVA's eyes: the features of one layer, `mm_vision_select_layer`, and no layer after it."""

from typing import Any

import torch

from llava.errors import InputError, shown
from llava.model.evidence.clip import ClipEvidence
from llava.model.multimodal_encoder.partial_clip import PartialCLIP
from llava.model.multimodal_encoder.vision_tower import VisionTower


class CLIPVisionTower(VisionTower):
    """LLaVA's CLIP.

    Of LLaVA's configuration it reads `mm_vision_select_layer`, an index into the hidden states, 0 the embeddings, -2
    (the default) the output of the second-to-last layer; and `mm_vision_select_feature`, `patch` (without [CLS]) or
    `cls_patch`, where a method that reduces in the encoder decides by itself.
    """

    encoder_class = PartialCLIP
    evidence_class = ClipEvidence

    def choose(self, args: Any, config: Any) -> int:
        """See the class."""
        layer = getattr(args, "mm_vision_select_layer", None)
        self.select_layer = -2 if layer is None else layer
        self.select_feature = getattr(args, "mm_vision_select_feature", None) or "patch"
        return _layers_to_run(self.select_layer, self.select_feature, config.num_hidden_layers)

    def feature_select(self, image_forward_outs: Any) -> torch.Tensor:
        """LLaVA's choice among CLIP's hidden states: (V, n or 1 + n, D) of an output that has them all."""
        chosen = image_forward_outs.hidden_states[self.select_layer]
        return chosen if self.select_feature == "cls_patch" else chosen[:, 1:]


def _layers_to_run(select_layer: int, select_feature: str, depth: int) -> int:
    """The number of layers up to the selected one; InputError for what cannot be selected."""
    if select_feature not in ("patch", "cls_patch"):
        raise InputError(
            f"mm_vision_select_feature must be known: got {shown(select_feature)}, expected patch or cls_patch"
        )
    if type(select_layer) is not int:
        raise InputError(f"mm_vision_select_layer must be a whole number: got {shown(select_layer)}; write it like -2")
    layers = select_layer + depth + 1 if select_layer < 0 else select_layer
    if not 1 <= layers <= depth:
        raise InputError(
            f"mm_vision_select_layer must name a layer's output: got {select_layer}, expected {-depth} to -1 or 1 to "
            f"{depth} for this encoder"
        )
    return layers
