"""This project's vision towers over the weights of transformers' CLIP and SigLIP, where they are."""

from typing import Any

from torch import nn
from transformers import CLIPVisionModel, SiglipVisionModel

from llava.hf.cloning import clone
from llava.model.evidence.siglip import SiglipEvidence
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.model.multimodal_encoder.partial_clip import PartialCLIP
from llava.model.multimodal_encoder.partial_siglip import PartialSiglip
from llava.model.multimodal_encoder.vision_tower import VisionTower


class _SiglipTower(VisionTower):
    """SigLIP with all its layers: those that LLaVA cuts off are not in transformers' checkpoints."""

    evidence_class = SiglipEvidence


TOWERS: dict[type, tuple[type[VisionTower], type]] = {
    CLIPVisionModel: (CLIPVisionTower, PartialCLIP),
    SiglipVisionModel: (_SiglipTower, PartialSiglip),
}


def tower_of(host: Any, feature_layer: int, strategy: str) -> VisionTower:
    """The tower.

    Args:
        host: transformers'.
        feature_layer: the hidden state that becomes the features, 0 the embeddings, -1 the last.
        strategy: `default`: without [CLS]; `full`: all tokens.
    """
    kind, partial = TOWERS[type(host)]
    tower: Any = object.__new__(kind)
    nn.Module.__init__(tower)
    tower.vision_tower = clone(host, partial)
    depth = host.config.num_hidden_layers
    tower.layers_to_run = feature_layer if feature_layer >= 0 else depth + 1 + feature_layer
    tower.select_feature = "cls_patch" if strategy == "full" and kind is CLIPVisionTower else "patch"
    return tower
