"""CLIP's encoder, called as a module, that stops after the layer whose features are wanted."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutput


@dataclass
class PartialOutput(BaseModelOutput):
    """Of the last layer that ran: `last_hidden_state` leaves it, `entering` enters it; both (V, 1 + n, D)."""

    entering: torch.FloatTensor | None = None


class PartialCLIP(CLIPVisionModel):
    """transformers' CLIP, which runs some of its layers where it is asked to, and is itself otherwise."""

    def forward(
        self, pixel_values: torch.Tensor | None = None, *args: Any, layers: int | None = None, **kwargs: Any
    ) -> Any:
        """The first `layers` layers over (V, 3, h, w) pixels; None: all, and as transformers has it."""
        if layers is None:
            return super().forward(pixel_values, *args, **kwargs)
        hidden = entering = self.pre_layrnorm(self.embeddings(pixel_values))
        for layer in self.encoder.layers[:layers]:
            entering, hidden = hidden, layer(hidden, attention_mask=None)
        return PartialOutput(last_hidden_state=hidden, entering=entering)
