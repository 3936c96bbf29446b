"""What a method may ask before the LLM besides the last encoder layer; letters as in this room's `__init__`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from llava.model.multimodal_encoder.clip_text import clip_half_of
from llava.model.question import Asked


@dataclass(frozen=True)
class Surroundings:
    """What there is around the encoder's last layer.

    Attributes:
        tower: the vision tower.
        others: (V, tokens, D), what enters other layers, by number from 0.
        into: (V, patches) int64, the token each patch was merged into, less [CLS]; None: nothing was.
        views: views of each picture.
        asked: the questions; None where the call is not about any.
    """

    tower: Any
    others: Mapping[int, torch.Tensor] = field(default_factory=dict)
    into: torch.Tensor | None = None
    views: tuple[int, ...] = ()
    asked: Asked | None = None


class Surrounded:
    """Mixed in before an encoder layer's evidence: implements the rest of `llava.reduction.EncoderEvidence`."""

    around: Surroundings | None
    has_cls: bool
    lengths: tuple[int, ...]

    @property
    def values(self) -> torch.Tensor:
        """(V, n, D), the patches."""
        raise NotImplementedError

    @property
    def own_values(self) -> torch.Tensor:
        """(V, n, D of the encoder), the same as the encoder itself has them."""
        return self.values

    @property
    def _around(self) -> Surroundings:
        assert self.around is not None, "this evidence is of one layer alone"
        return self.around

    @property
    def views(self) -> tuple[int, ...]:
        """Views of each picture; all of one where nothing else is known."""
        return self._around.views or (1,) * len(self.lengths)

    @property
    def whole_side(self) -> int:
        """Patches along one side of a view as it was handed in."""
        return self._around.tower.num_patches_per_side

    def layer(self, number: int) -> Self:
        """Evidence of another layer, from 0 or from the end; values are still those of the last that runs."""
        layers = self._around.tower.vision_tower.encoder.layers
        place = number % len(layers)
        assert place in self._around.others, f"layer {number} is not among the method's encoder_layers"
        return self.at_layer(layers[place], self._around.others[place])

    def at_layer(self, layer: Any, entering: torch.Tensor) -> Self:
        """The same about another layer."""
        raise NotImplementedError

    def merged_into(self) -> torch.Tensor:
        """(V, patches) int64, the token of each patch; its own where nothing was merged."""
        if self._around.into is not None:
            return self._around.into
        return torch.arange(self.lengths[0], device=self.values.device).expand(len(self.lengths), -1)

    def image_embeds(self) -> torch.Tensor:
        """(V, n, d) float32, through CLIP's last norm and visual projection."""
        tower = self._around.tower
        return clip_half_of(tower).image_embeds(self.own_values, tower.vision_tower.post_layernorm)

    def text_embeds(self, texts: list[str], pieces: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """(V, s, d) float32 and (V, s) bool, through CLIP's text tower and projection."""
        half = clip_half_of(self._around.tower)
        return half.text_embeds(texts, pieces, self.values.device, self._around.tower.dtype)

    def questions(self) -> list[str]:
        """The question about each view's picture."""
        return self._asked.questions(self.views)

    def words(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The LLM's embeddings of the question about each view, (V, w, D) and (V, w) bool."""
        words, real = self._asked.words(self.views)
        return words.detach().to(self.values.device), real.to(self.values.device)

    @property
    def _asked(self) -> Asked:
        assert self._around.asked is not None, "a method that reads the question is called with one"
        return self._around.asked
