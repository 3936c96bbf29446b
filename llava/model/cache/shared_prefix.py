"""One picture's keys and values for all rows of a batch, whose caches then hold their own tokens alone."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SharedPrefix:
    """Not a tuple and without `to`, so that placing hooks (accelerate's) hand it on as it is.

    Attributes:
        states: for each layer its keys and values, (2, G, p, d); p differs from stage to stage.
    """

    states: tuple[torch.Tensor, ...]

    def length(self, layer: int) -> int:
        """Tokens of the prefix in a layer."""
        return self.states[layer].shape[2]

    def pair(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (G, p, d) of a layer."""
        keys, values = self.states[layer]
        return keys, values
