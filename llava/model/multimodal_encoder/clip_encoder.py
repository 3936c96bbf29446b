"""CLIP as LLaVA's eyes: the features of one layer and no layer after it, at one scale or at several (S2)."""

from dataclasses import dataclass
from typing import Any

import torch

from llava.errors import InputError, shown
from llava.model.evidence.clip import ClipEvidence
from llava.model.evidence.clip_s2 import ScaledEvidence
from llava.model.evidence.surroundings import Surroundings
from llava.model.multimodal_encoder.partial_clip import PartialCLIP
from llava.model.multimodal_encoder.scales import scales_of
from llava.model.multimodal_encoder.squares import cut, put_together, resized
from llava.model.multimodal_encoder.vision_tower import VisionTower
from llava.model.question import Asked
from llava.reduction import Reduction


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


@dataclass(frozen=True)
class _Seen:
    """The smallest scale's states, with what a method wants of other layers; and those of all scales, [CLS] first."""

    smallest: Any
    scaled: torch.Tensor


class CLIPVisionTowerS2(CLIPVisionTower):
    """LLaVA's CLIP with `s2`: views have the size of the largest of `s2_scales`, and are seen at each of them.

    More channels for each patch, not more patches: a larger scale is cut into squares of the smallest, the map of their
    patches is brought to the smallest's size by averaging areas, and channels are put side by side, the smallest
    scale's first.

    A method ranks by the smallest scale's own [CLS]. The [CLS] token that VisionZip and VisionDrop keep is, in each
    scale's channels, the mean over the scale's squares: the same averaging, to one place. None is published; this is
    ours.
    """

    def choose(self, args: Any, config: Any) -> int:
        """The layers of `CLIPVisionTower`, and the scales."""
        layers = super().choose(args, config)
        self.s2_scales = scales_of(args, config)
        if self.select_feature == "cls_patch":
            raise InputError(
                "a tower with s2 puts patches of several scales side by side, in which [CLS] has no place: got "
                "mm_vision_select_feature 'cls_patch', expected 'patch'; mend config.json"
            )
        self.passes = sum((scale // config.image_size) ** 2 for scale in self.s2_scales)
        return layers

    @property
    def image_size(self) -> int:
        """Edge of a view in pixels: the largest scale's."""
        return self.s2_scales[-1]

    @property
    def hidden_size(self) -> int:
        """D of all scales together."""
        return self.config.hidden_size * len(self.s2_scales)

    def entering_last(self, pixels: torch.Tensor) -> torch.Tensor:
        """(V, 3, height, width) -> (V, 1 + n, D of one scale), what enters `last_layer` at the smallest scale."""
        return self._run(resized(self._checked(pixels), self.s2_scales[0]), self.layers_to_run - 1).last_hidden_state

    def see(self, pixels: torch.Tensor, reduction: Reduction | None = None) -> _Seen:
        """Run the encoder over (V, 3, height, width) pixels at every scale."""
        wanted = self.wanted(reduction)
        assert wanted is None or not (any(wanted.pairs) or wanted.grid), "methods for s2 leave the encoder's tokens"
        placed, run = self._checked(pixels).to(device=self.device, dtype=self.dtype), self.layers_to_run
        smallest, *larger = (cut(resized(placed, scale), self.config.image_size) for scale in self.s2_scales)
        first, side = self._run(smallest, run, wanted), self.num_patches_per_side
        others = (self._run(squares, run).last_hidden_state for squares in larger)
        states = [first.last_hidden_state, *(put_together(own, len(pixels), side) for own in others)]
        return _Seen(first, torch.cat(states, dim=-1))

    def evidence(
        self, seen: _Seen, pixels: torch.Tensor, views: tuple[int, ...] = (), asked: Asked | None = None
    ) -> ScaledEvidence:
        """See `ScaledEvidence`."""
        first = seen.smallest
        around = Surroundings(self, first.others or {}, None, views, asked)
        states = (first.entering, first.last_hidden_state)
        return ScaledEvidence(self.last_layer, *states, pixels, seen.scaled, around)


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
