"""What a method may ask about a layer that has run on one new token of every row, after a filled cache.

For methods that choose again at every new token; letters in shapes as in this room's `__init__`.
"""

from typing import Any

import torch

from llava.model.language_model.masks import visible, window_of
from llava.model.layer_parts import normed, only_looked_at, projected, rotated, split_heads
from llava.model.layout import Layout
from llava.reduction.scoring import attention_rows


class DecodingEvidence:
    """The part of `llava.reduction.layer_evidence.LayerEvidence` that a new token can be asked for.

    Args:
        layer: the layer that has just run.
        hidden: (B, 1, D), what entered it.
        rotary: cos and sin, (1 or B, 1, d), at the new tokens' positions.
        keys: (B, G, T, d), the layer's cached keys, the new tokens' among them.
        filler: (B, T) bool, True at padding; None: there is none.
        layout: where the images were when the cache was filled; its columns are the cache's first ones.
    """

    has_cls = False

    def __init__(
        self,
        layer: Any,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        filler: torch.Tensor | None,
        layout: Layout,
    ) -> None:
        self._attention, self._norm = layer.self_attn, layer.input_layernorm
        self._hidden, self._rotary, self._keys, self._filler = hidden, rotary, keys, filler
        self.lengths = tuple(span.length for span in layout.spans)
        self.initial_lengths = tuple(span.initial for span in layout.spans)
        self.largest_lengths = tuple(max(span.initial, span.largest) for span in layout.spans)
        self._rows, self._columns, self.valid = layout.columns(hidden.device)

    @property
    def ran(self) -> "DecodingEvidence":
        """Itself: it is about the layer that has run."""
        return self

    @only_looked_at
    def attention_from_last(self) -> torch.Tensor:
        """(I, H, 1, n) float32, what the new token gives to the image tokens."""
        queries = projected(self._attention.q_proj, normed(self._norm, self._hidden))
        queries = rotated(split_heads(queries, self._attention.head_dim), *self._rotary)
        filler = self._filler
        if filler is None:
            filler = torch.zeros(1, self._keys.shape[2], dtype=torch.bool, device=self._keys.device)
        allowed = visible(filler, 1, window_of(self._attention))
        rows = attention_rows(queries, self._keys, self._attention.scaling, allowed)[self._rows]
        columns = self._columns[:, None, None].expand(*rows.shape[:3], -1)
        return rows.gather(-1, columns).masked_fill(~self.valid[:, None, None], 0)
