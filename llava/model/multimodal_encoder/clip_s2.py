"""CLIP that sees a picture at several scales (S2, arXiv 2403.13043): more channels for each patch, not more patches."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import interpolate

from llava.errors import InputError
from llava.model.evidence.clip_s2 import ScaledEvidence
from llava.model.evidence.surroundings import Surroundings
from llava.model.multimodal_encoder.clip_encoder import CLIPVisionTower
from llava.model.multimodal_encoder.scales import scales_of
from llava.model.question import Asked
from llava.reduction import Reduction, name_of


@dataclass(frozen=True)
class _Seen:
    """The smallest scale's states, with what a method wants of other layers; and those of all scales, [CLS] first."""

    smallest: Any
    scaled: torch.Tensor


class CLIPVisionTowerS2(CLIPVisionTower):
    """LLaVA's CLIP with `s2`: views have the size of the largest scale, and are seen at each of `s2_scales`.

    A larger scale is cut into squares of the smallest; the map of their patches is brought to the smallest's size by
    averaging areas, and channels are put side by side, the smallest scale's first.

    A method ranks by the smallest scale's own [CLS]. The [CLS] token that VisionZip and VisionDrop keep is, in each
    scale's channels, the mean over the scale's squares: the same averaging, to one place.
    None is published; this is ours.
    """

    def choose(self, args: Any, config: Any) -> int:
        """The layers of `CLIPVisionTower`, and the scales."""
        layers = super().choose(args, config)
        self.scales = scales_of(args, config)
        if self.select_feature == "cls_patch":
            raise InputError(
                "a tower with s2 puts patches of several scales side by side, in which [CLS] has no place: got "
                "mm_vision_select_feature 'cls_patch', expected 'patch'; mend config.json"
            )
        self.passes = sum((scale // config.image_size) ** 2 for scale in self.scales)
        return layers

    @property
    def image_size(self) -> int:
        """Edge of a view in pixels: the largest scale's."""
        return self.scales[-1]

    @property
    def hidden_size(self) -> int:
        """D of all scales together."""
        return self.config.hidden_size * len(self.scales)

    def entering_last(self, pixels: torch.Tensor) -> torch.Tensor:
        """(V, 3, height, width) -> (V, 1 + n, D of one scale), what enters `last_layer` at the smallest scale."""
        return self._run(_resized(self._checked(pixels), self.scales[0]), self.layers_to_run - 1).last_hidden_state

    def see(self, pixels: torch.Tensor, reduction: Reduction | None = None) -> _Seen:
        """Run the encoder over (V, 3, height, width) pixels at every scale."""
        wanted = self.wanted(reduction)
        if reduction is not None and wanted is not None and (any(wanted.pairs) or wanted.grid is not None):
            raise InputError(
                f"{name_of(reduction)} changes the tokens within the encoder, which a tower with s2 runs at several "
                f"scales: got s2; choose another method"
            )
        placed, run = self._checked(pixels).to(device=self.device, dtype=self.dtype), self.layers_to_run
        first = self._run(self._squares(placed, self.scales[0]), run, wanted)
        larger = (self._run(self._squares(placed, scale), run) for scale in self.scales[1:])
        states = [first.last_hidden_state, *(self._merged(one.last_hidden_state, len(pixels)) for one in larger)]
        return _Seen(first, torch.cat(states, dim=-1))

    def evidence(
        self, seen: _Seen, pixels: torch.Tensor, views: tuple[int, ...] = (), asked: Asked | None = None
    ) -> ScaledEvidence:
        """See `ScaledEvidence`."""
        first = seen.smallest
        around = Surroundings(self, first.others or {}, None, views, asked)
        states = (first.entering, first.last_hidden_state)
        return ScaledEvidence(self.last_layer, *states, pixels, seen.scaled, around)

    def _squares(self, pixels: torch.Tensor, scale: int) -> torch.Tensor:
        """(V, 3, h, w) -> (V * s * s, 3, edge, edge): the squares of `scale` = s * edge, row by row of each view."""
        edge = self.config.image_size
        cut = _resized(pixels, scale).unflatten(3, (-1, edge)).unflatten(2, (-1, edge))  # (V, 3, s, edge, s, edge)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    def _merged(self, states: torch.Tensor, views: int) -> torch.Tensor:
        """(V * s * s, 1 + n, D) of the squares -> (V, 1 + n, D): [CLS] averaged, patches averaged by area."""
        side = self.num_patches_per_side
        squares = states.unflatten(0, (views, -1))  # (V, s * s, 1 + n, D)
        across = round(squares.shape[1] ** 0.5)
        grid = squares[:, :, 1:].unflatten(2, (side, side)).unflatten(1, (across, across))
        picture = grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (V, D, s * side, s * side)
        patches = interpolate(picture.float(), size=(side, side), mode="area").to(states.dtype)
        cls_token = squares[:, :, :1].mean(dim=1, dtype=torch.float32).to(states.dtype)
        return torch.cat([cls_token, patches.flatten(2).transpose(1, 2)], dim=1)


def _resized(pixels: torch.Tensor, scale: int) -> torch.Tensor:
    """(V, 3, h, w) -> (V, 3, scale, scale), dtype kept, computed in float32; values may leave the pixels' range."""
    return interpolate(pixels.float(), size=(scale, scale), mode="bicubic").to(pixels.dtype)
