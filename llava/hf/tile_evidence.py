"""What a method may ask before the LLM about square tiles whose patches are merged by a pixel shuffle (InternVL).

A token's score is the mean of its patches' scores within their tile, its key the mean of theirs, as for Qwen's towers.
[CLS] is among the queries where a method asks for all; it never enters the LLM, so that no method ranks or keeps by it.
"""

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

from llava.hf.merged_evidence import MergedTokens, Watched
from llava.model.evidence.clip import ClipEvidence
from llava.model.layer_parts import normed


class TileEvidence(MergedTokens):
    """Evidence about V tiles of n tokens each. Implements what there is of `llava.reduction.EncoderEvidence`.

    Args:
        values: (V, n, D), the tokens as the LLM gets them, row by row of the tile.
        watched: layers by number, and `main`, the number of the one that is asked.
        pixels: (V, 3, h, w).
        views: tiles of each picture.
    """

    without_cls = "InternVL's [CLS] token does not enter the LLM"

    def __init__(
        self,
        values: torch.Tensor,
        watched: Mapping[int, Watched],
        main: int,
        pixels: torch.Tensor,
        views: tuple[int, ...],
    ) -> None:
        super().__init__(values)
        self.pixels, self.views, self._watched = pixels, views, watched
        self._patches = _of_patches(watched[main], pixels)

    def layer(self, number: int) -> "TileEvidence":
        """The same of another layer that was watched."""
        other = copy.copy(self)
        other._patches = _of_patches(self._watched[number], self.pixels)
        return other

    def _folded(self, patches: torch.Tensor) -> torch.Tensor:
        """(V, patches, ...) -> (V, n, ...), the mean over a token's square of patches."""
        side, fine = round(self.lengths[0] ** 0.5), round(patches.shape[1] ** 0.5)
        edge = fine // side
        squares = patches.unflatten(1, (side, edge, side, edge))
        return squares.mean(dim=(2, 4)).flatten(1, 2)

    def keys(self) -> torch.Tensor:
        """(V, n, d) float32, averaged over heads and a token's patches."""
        return self._folded(self._patches.keys())

    def attention_received(self) -> torch.Tensor:
        """(V, n) float32, what a token's patches receive from all patches of the tile; mean over all."""
        return self._folded(self._patches.attention_received())

    def received_from_all(self) -> torch.Tensor:
        """(V, n) float32, the same with [CLS] among the queries."""
        return self._folded(self._patches.received_from_all())


class _Normed:
    """A projection and the norm behind it, as one projection."""

    def __init__(self, projection: Any, norm: Any) -> None:
        self.weight, self._projection, self._norm = projection.weight, projection, norm

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        made = self._projection(states)
        return made if isinstance(self._norm, torch.nn.Identity) else normed(self._norm, made)


def _of_patches(watched: Watched, pixels: torch.Tensor) -> ClipEvidence:
    """That of the layer's own tokens, under CLIP's names."""
    attention = watched.block.attention
    named = SimpleNamespace(
        q_proj=_Normed(attention.q_proj, attention.q_norm),
        k_proj=_Normed(attention.k_proj, attention.k_norm),
        head_dim=attention.head_dim,
        scale=attention.scale,
    )
    layer = SimpleNamespace(self_attn=named, layer_norm1=watched.block.layernorm_before)
    return ClipEvidence(layer, watched.hidden, watched.hidden, pixels)
