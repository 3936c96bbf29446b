"""What a method may ask a layer of CLIP's encoder; letters in shapes as in this room's `__init__`."""

import copy
from functools import cached_property
from typing import Any, ClassVar

import torch

from llava.model.evidence.surroundings import Surrounded, Surroundings
from llava.model.layer_parts import normed, only_looked_at, projected, split_heads
from llava.reduction.precision import without_autocast
from llava.reduction.scoring import attention_rows, mean_received

MOST_ENTRIES = 2**26  # of the attention matrices held at once: 256 MiB in float32, 7 views of SigLIP-so400m


class ClipEvidence(Surrounded):
    """Evidence of one CLIP encoder layer about its patches. Implements `llava.reduction.EncoderEvidence`.

    Args:
        layer: transformers' CLIPEncoderLayer, or one with the same names (SigLIP).
        entering: (I, 1 + n, D), the hidden states that enter the layer, [CLS] first.
        leaving: (I, 1 + n, D), those that leave it: the values that are kept and merged.
        pixels: (I, 3, h, w), what the encoder was asked about, before any change of dtype.
        around: what a method may ask besides; None: nothing.
    """

    has_cls = True
    _first: ClassVar[int] = 1  # the number of the first patch among the tokens

    def __init__(
        self,
        layer: Any,
        entering: torch.Tensor,
        leaving: torch.Tensor,
        pixels: torch.Tensor,
        around: Surroundings | None = None,
    ) -> None:
        self._pixels, self.around = pixels, around
        self._attention, self._leaving = layer.self_attn, leaving
        self._norm, self._entering = layer.layer_norm1, entering
        count = leaving.shape[1] - self._first
        self.lengths = self.initial_lengths = self.largest_lengths = (count,) * len(leaving)
        self.valid = torch.ones(len(leaving), count, dtype=torch.bool, device=leaving.device)

    @property
    def values(self) -> torch.Tensor:
        """(I, n, D), the patches as they leave the layer."""
        return self._leaving[:, self._first :]

    @property
    def tokens(self) -> torch.Tensor:
        """(I, 1 + n, D), [CLS] and the patches as they leave the layer."""
        return self._leaving

    @property
    def pixels(self) -> torch.Tensor:
        """(I, 3, h, w), on the device of the layer."""
        return self._pixels.to(self._leaving.device)

    @property
    def cls_token(self) -> torch.Tensor:
        """(I, 1, D)."""
        return self._leaving[:, :1]

    @cached_property
    def _normed(self) -> torch.Tensor:
        return normed(self._norm, self._entering)

    @cached_property
    def _keys(self) -> torch.Tensor:
        return split_heads(projected(self._attention.k_proj, self._normed), self._attention.head_dim)

    @only_looked_at
    def keys(self) -> torch.Tensor:
        """(I, n, d) float32, unscaled key projections of the patches, averaged over heads."""
        return self._keys[:, :, self._first :].mean(dim=1, dtype=torch.float32)

    def _rows(self, tokens: slice) -> torch.Tensor:
        queries = split_heads(projected(self._attention.q_proj, self._normed[:, tokens]), self._attention.head_dim)
        return attention_rows(queries, self._keys, self._attention.scale)[..., self._first :]

    @only_looked_at
    def attention_from_cls(self) -> torch.Tensor:
        """(I, H, 1, n) float32; the softmax includes [CLS] itself, whose column is left out."""
        return self._rows(slice(0, 1))

    @only_looked_at
    def attention_from_image(self) -> torch.Tensor:
        """(I, H, n, n) float32."""
        return self._rows(slice(self._first, None))

    def single_head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[CLS]'s query (I, D) and all keys (I, 1 + n, D), with their bias, unscaled, heads side by side."""
        with torch.no_grad(), without_autocast(self.valid.device):
            query = projected(self._attention.q_proj, self._normed[:, 0])
            return query, projected(self._attention.k_proj, self._normed)

    def at_layer(self, layer: Any, entering: torch.Tensor) -> "ClipEvidence":
        """Evidence of another layer, about the same values."""
        other = copy.copy(self)
        for name in ("_normed", "_keys"):
            other.__dict__.pop(name, None)
        other._attention, other._norm, other._entering = layer.self_attn, layer.layer_norm1, entering
        return other

    @only_looked_at
    def attention_received(self) -> torch.Tensor:
        """(I, n) float32, `attention_from_image` averaged over heads and queries, for as many views at once as fit."""
        return self._received(slice(self._first, None))

    @only_looked_at
    def received_from_all(self) -> torch.Tensor:
        """(I, n) float32, the same with [CLS] among the queries where there is one."""
        return self._received(slice(None))

    def _received(self, tokens: slice) -> torch.Tensor:
        queries = split_heads(projected(self._attention.q_proj, self._normed[:, tokens]), self._attention.head_dim)
        heads, rows, columns = queries.shape[1], queries.shape[2], self._keys.shape[2]
        at_once = max(1, MOST_ENTRIES // (heads * rows * columns))
        pairs = zip(queries.split(at_once), self._keys.split(at_once))
        parts = [mean_received(attention_rows(*pair, self._attention.scale)) for pair in pairs]
        return torch.cat(parts)[:, self._first :]

    def attention_from_last(self) -> torch.Tensor:
        """Refused: there is no prompt in the encoder."""
        raise NotImplementedError("an encoder layer sees no prompt")
