"""CLIP's encoder, called as a module, that stops after the layer whose features are wanted."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutput

from llava.model.multimodal_encoder.wanted import Wanted, run_layers, smaller


@dataclass
class PartialOutput(BaseModelOutput):
    """Of the last layer that ran: `last_hidden_state` leaves it, `entering` enters it; both (V, tokens, D).

    `others` and `into`: what else a method wanted, see `Seen`.
    """

    entering: torch.FloatTensor | None = None
    others: dict[int, torch.Tensor] | None = None
    into: torch.LongTensor | None = None


class Partial:
    """Mixed in before one of transformers' vision encoders: runs some of its layers where it is asked to."""

    first_patch: ClassVar[int] = 0
    """The number of the first patch among the tokens."""

    def enter(self, pixel_values: torch.Tensor, interpolate: bool = False) -> torch.Tensor:
        """(V, 3, h, w) pixels -> (V, tokens, D), what enters the first layer.

        Args:
            interpolate: position embeddings, to a picture of another size.
        """
        raise NotImplementedError

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        *args: Any,
        layers: int | None = None,
        wanted: Wanted | None = None,
        **kwargs: Any,
    ) -> Any:
        """The first `layers` layers over (V, 3, h, w) pixels; None: all, and as transformers has it.

        Args:
            wanted: what a method wants besides; None: nothing.
        """
        host: Any = self
        if layers is None:
            return super().forward(pixel_values, *args, **kwargs)  # type: ignore[misc]
        if wanted is not None:
            assert pixel_values is not None
            return self._run_wanted(pixel_values, layers, wanted)
        hidden = entering = host.enter(pixel_values)
        for layer in host.encoder.layers[:layers]:
            entering, hidden = hidden, layer(hidden, attention_mask=None)
        return PartialOutput(last_hidden_state=hidden, entering=entering)

    def _run_wanted(self, pixels: torch.Tensor, layers: int, wanted: Wanted) -> PartialOutput:
        host: Any = self
        if wanted.grid is not None:
            pixels = smaller(pixels, wanted.grid, host.config.patch_size)
        hidden = host.enter(pixels, interpolate=wanted.grid is not None)
        seen = run_layers(host.encoder.layers, hidden, layers, wanted, self.first_patch)
        found: dict[str, Any] = {"entering": seen.entering, "others": seen.others, "into": seen.into}
        return PartialOutput(last_hidden_state=seen.leaving, **found)


class PartialCLIP(Partial, CLIPVisionModel):
    """transformers' CLIP, which is itself where no number of layers is asked for."""

    first_patch = 1

    def enter(self, pixel_values: torch.Tensor, interpolate: bool = False) -> torch.Tensor:
        """(V, 3, h, w) -> (V, 1 + n, D), [CLS] first."""
        return self.pre_layrnorm(self.embeddings(pixel_values, interpolate_pos_encoding=interpolate))
