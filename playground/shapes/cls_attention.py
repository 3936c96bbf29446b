"""[CLS] attention, trained: it learns to gather what is where, in the layer that LLaVA takes features from.

The patches stay as they are.

Contrast does not ask for this where 32 captions have to be told apart: a few of the things are enough, and the last
layer is early enough. [CLS] then attended to bare ground in the layer before it, whose attention ranks the patches.
"""

import copy

import torch
from torch import nn

from llava.model import LlavaLlamaForCausalLM
from playground.shapes.models import round_weights
from playground.shapes.scene import COLORS, PLACES, SHAPES

# How much dearer it is to change a patch than to misread [CLS].
WEIGHT_OF_PATCHES = 20.0
_CHOICES = (1 + len(COLORS), 1 + len(SHAPES))


class Gathering(nn.Module):
    """The layer that LLaVA takes features from, learning; all else of the tower is frozen.

    No language model and no text take part, so llava.train has no place for it.

    Args:
        llava: its weights are rounded first, see `round_weights`.
    """

    def __init__(self, llava: LlavaLlamaForCausalLM) -> None:
        super().__init__()
        self.llava = round_weights(llava).requires_grad_(False)
        self.before = copy.deepcopy(self.layer)
        self.layer.requires_grad_(True)
        self.summary = nn.Linear(llava.get_vision_tower().hidden_size, len(PLACES) * sum(_CHOICES))

    @property
    def layer(self) -> nn.Module:
        """The one that learns."""
        return self.llava.get_vision_tower().last_layer

    @torch.no_grad()
    def entering(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, 128, 128) pixels -> (B, 257, D), what enters the layer."""
        return self.llava.get_vision_tower().entering_last(images)

    def forward(self, images: torch.Tensor, patches: torch.Tensor, **_: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss and its two parts: what is misread, and the share by which patches have changed.

        Args:
            patches: (B, 256, 5) int64, see `patch_targets`.
        """
        entering = self.entering(images)
        with torch.no_grad():
            wanted = self.before(entering, attention_mask=None)[:, 1:].float()
        leaving = self.layer(entering, attention_mask=None).float()
        gathered = summary_loss(self.summary(leaving[:, 0]), patches)
        changed = (leaving[:, 1:] - wanted).pow(2).sum() / wanted.pow(2).sum()
        return {"loss": gathered + WEIGHT_OF_PATCHES * changed, "gathered": gathered, "changed": changed}


def summary_loss(verdicts: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """The sum of two cross entropies: (B, 126) verdicts on the color and the shape at nine places, 0 where nothing is.

    Args:
        patches: (B, 256, 5) int64, see `patch_targets`.
    """
    color, shape, *_, place = patches.unbind(dim=-1)
    empty = color.new_zeros(len(color), len(PLACES))
    by_place = verdicts.float().unflatten(1, (len(PLACES), -1)).split(_CHOICES, dim=-1)
    parts = [
        nn.functional.cross_entropy(verdict.flatten(0, 1), empty.scatter_reduce(1, place, truth, "amax").flatten())
        for verdict, truth in zip(by_place, (color, shape))
    ]
    return torch.stack(parts).sum()
