"""CLIP's encoder, called as a module, that stops after the layer whose features are wanted."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutput


@dataclass
class PartialOutput(BaseModelOutput):
    """Of the last layer that ran: `last_hidden_state` leaves it, `entering` enters it; both (V, tokens, D)."""

    entering: torch.FloatTensor | None = None


class Partial:
    """Mixed in before one of transformers' vision encoders: runs some of its layers where it is asked to."""

    def enter(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(V, 3, h, w) pixels -> (V, tokens, D), what enters the first layer."""
        raise NotImplementedError

    def forward(
        self, pixel_values: torch.Tensor | None = None, *args: Any, layers: int | None = None, **kwargs: Any
    ) -> Any:
        """The first `layers` layers over (V, 3, h, w) pixels; None: all, and as transformers has it."""
        host: Any = self
        if layers is None:
            return super().forward(pixel_values, *args, **kwargs)  # type: ignore[misc]
        hidden = entering = host.enter(pixel_values)
        for layer in host.encoder.layers[:layers]:
            entering, hidden = hidden, layer(hidden, attention_mask=None)
        return PartialOutput(last_hidden_state=hidden, entering=entering)


class PartialCLIP(Partial, CLIPVisionModel):
    """transformers' CLIP, which is itself where no number of layers is asked for."""

    def enter(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(V, 3, h, w) -> (V, 1 + n, D), [CLS] first."""
        return self.pre_layrnorm(self.embeddings(pixel_values))
