"""What a method leaves of the pictures of transformers' LLaVA: this project's towers over the host's weights."""

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModel, SiglipVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from llava.hf.cloning import clone
from llava.hf.note import Entering, Note, Pictures
from llava.hf.seeing import Seeing
from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.siglip import SiglipEvidence
from llava.model.kept_order import view_order
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.model.multimodal_encoder.partial_clip import PartialCLIP
from llava.model.multimodal_encoder.partial_siglip import PartialSiglip
from llava.model.multimodal_encoder.vision_tower import Encoded, VisionTower
from llava.model.projected_choice import choose_in_pictures, choose_in_views
from llava.model.trace import Trace
from llava.reduction import Reduction


class _ClipTower(CLIPVisionTower):
    """transformers' CLIP where it is, under LLaVA's names."""


class _SiglipTower(VisionTower):
    """transformers' SigLIP where it is, all its layers."""

    evidence_class = SiglipEvidence


TOWERS: dict[type, tuple[type[VisionTower], type, type[ClipEvidence]]] = {
    CLIPVisionModel: (_ClipTower, PartialCLIP, ClipEvidence),
    SiglipVisionModel: (_SiglipTower, PartialSiglip, SiglipEvidence),
}


def tower_of(host: Any, feature_layer: int, strategy: str) -> VisionTower:
    """This project's tower over the weights of one of transformers'.

    Args:
        feature_layer: the hidden state that becomes the features, 0 the embeddings, -1 the last.
        strategy: `default`: without [CLS]; `full`: all tokens.
    """
    kind, partial, _ = TOWERS[type(host)]
    tower: Any = object.__new__(kind)
    nn.Module.__init__(tower)
    tower.vision_tower = clone(host, partial)
    tower.layers_to_run = layers_to_run(host.config.num_hidden_layers, feature_layer)
    tower.select_feature = "cls_patch" if strategy == "full" and kind is _ClipTower else "patch"
    return tower


def layers_to_run(depth: int, feature_layer: int) -> int:
    """Layers up to a hidden state."""
    return feature_layer if feature_layer >= 0 else depth + 1 + feature_layer


class LlavaSeeing(Seeing):
    """`LlavaModel` in a call: one view of each picture."""

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> Any:
        """transformers' call. Where the method acts before the LLM the features are stand-ins: none of them enters."""
        note: Note = self.__dict__["note"]
        if not note.plan.acts_before:
            made = super().get_image_features(pixel_values, **kwargs)
            note.pictures = Pictures(tuple(len(features) for features in made.pooler_output))
            return made
        layer, strategy = kwargs.get("vision_feature_layer"), kwargs.get("vision_feature_select_strategy")
        layer = self.config.vision_feature_layer if layer is None else layer
        strategy = self.config.vision_feature_select_strategy if strategy is None else strategy
        tower = tower_of(self.vision_tower, layer, strategy)
        whole = tower.num_patches + int(tower.select_feature == "cls_patch")
        tokens, counts = reduced_views(tower, self.multi_modal_projector, pixel_values, note.plan.inside, note.trace)
        sources = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)  # positions are counted anew
        entering = Entering(tokens, tuple(counts), sources)
        note.pictures = Pictures((whole,) * len(counts), entering)
        stand_in = tokens.new_zeros(()).expand(whole, tokens.shape[1])
        return BaseModelOutputWithPooling(last_hidden_state=None, pooler_output=[stand_in] * len(counts))


def reduced_views(
    tower: VisionTower, projector: Any, pixels: torch.Tensor, method: Reduction, trace: Trace | None
) -> tuple[torch.Tensor, list[int]]:
    """(V, 3, h, w) pixels of pictures of one view -> (total, D) tokens for the LLM, and how many each picture has."""
    seen = tower.encode(pixels, method, (1,) * len(pixels))
    features = projector(seen.features.to(next(projector.parameters()).dtype))
    projected = Encoded(features, seen.selection, seen.evidence)
    if method.after_projector in ("patches", "image"):
        lengths = [features.shape[1]] * len(features)
        return choose_in_pictures(method, features.flatten(0, 1), lengths, None, projected, trace)
    if method.after_projector == "view":
        projected = choose_in_views(method, projected)
    if trace is not None:
        trace.encoder = projected.selection
    selection = projected.selection
    if selection is None:
        return projected.features.flatten(0, 1), [projected.features.shape[1]] * len(projected.features)
    order, counts = view_order(selection, [1] * len(pixels))
    flat = projected.features.flatten(0, 1)
    return flat if order is None else flat[order.to(flat.device)], counts
