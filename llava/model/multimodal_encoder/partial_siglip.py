"""SigLIP's encoder without its last layer and its head, called as a module."""

from typing import Any

import torch
from transformers import SiglipVisionModel

from llava.model.multimodal_encoder.partial_clip import Partial


class PartialSiglip(Partial, SiglipVisionModel):
    """transformers' SigLIP as LLaVA-NeXT cuts it: `config` counts the layers of the whole encoder, one is not here."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        del self.encoder.layers[-1]
        if hasattr(self, "head"):
            del self.head
        self.use_head: bool = False

    def enter(self, pixel_values: torch.Tensor, interpolate: bool = False) -> torch.Tensor:
        """(V, 3, h, w) -> (V, n, D)."""
        return self.embeddings(pixel_values, interpolate_pos_encoding=interpolate)
