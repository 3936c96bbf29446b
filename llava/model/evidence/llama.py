"""What a method may ask a layer of a LLaMA-like decoder; letters in shapes as in this room's `__init__`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from llava.model.layer_parts import normed, only_looked_at, projected, rotated, split_heads
from llava.model.layout import Layout
from llava.reduction.scoring import attention_rows


class LlamaEvidence:
    """Evidence of one LLaMA-like decoder layer about the image tokens that are about to enter it.

    Args:
        layer: transformers' LlamaDecoderLayer, or one with the same names (Mistral, Qwen2).
        hidden: (B, T, D), the hidden states that enter the layer, padded on the left.
        layout: where the images are; it has at least one.
        rotary: cos and sin, (1 or B, T, d), at the current positions.
        asking: for each row the columns of the tokens that are about to answer, in training: the last one before each
            answer. A row with an image has one at least. None: the last token of the prompt.
        window: how many of the newest tokens the layer looks at; None: all.
    """

    has_cls = False

    def __init__(
        self,
        layer: Any,
        hidden: torch.Tensor,
        layout: Layout,
        rotary: tuple[torch.Tensor, torch.Tensor],
        asking: Sequence[Sequence[int]] | None = None,
        window: int | None = None,
    ) -> None:
        self._attention, self._norm = layer.self_attn, layer.input_layernorm
        self._hidden, self._layout, self._asking, self._window = hidden, layout, asking, window
        self._cos, self._sin = (table.expand(len(hidden), -1, -1) for table in rotary)
        self.lengths = tuple(span.length for span in layout.spans)
        self.initial_lengths = tuple(span.initial for span in layout.spans)
        self._rows, self._columns, self.valid = layout.columns(hidden.device)
        # The usual batch: one image a row, all alike. Then a slice does what else takes a gather.
        places = {(layout.width - layout.lengths[span.row] + span.start, span.length) for span in layout.spans}
        alike = len(places) == 1 and [span.row for span in layout.spans] == list(range(len(hidden)))
        self._slice = slice(min(places)[0], sum(min(places))) if alike else None

    def _at_image(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, ...) -> (I, n, ...)."""
        return states[:, self._slice] if self._slice else states[self._rows[:, None], self._columns]

    def _by_image(self, states: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> (I, ...)."""
        return states if self._slice else states[self._rows]

    @cached_property
    def values(self) -> torch.Tensor:
        """(I, n, D), the image tokens."""
        return self._at_image(self._hidden)

    @cached_property
    def _image_end(self) -> int:
        spans, lengths, width = self._layout.spans, self._layout.lengths, self._layout.width
        return max(width - lengths[span.row] + span.start + span.length for span in spans)

    def _rotated_keys(self, end: int) -> torch.Tensor:
        """(B, G, end, d)."""
        entering = normed(self._norm, self._hidden[:, :end])
        keys = split_heads(projected(self._attention.k_proj, entering), self._attention.head_dim)
        return rotated(keys, self._cos[:, :end], self._sin[:, :end])

    def _rotated_queries(self, states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Hidden states (I, R, D) and their rotary tables -> (I, H, R, d)."""
        queries = projected(self._attention.q_proj, normed(self._norm, states))
        return rotated(split_heads(queries, self._attention.head_dim), cos, sin)

    @cached_property
    def _keys(self) -> torch.Tensor:
        """Keys up to the last image token: no image query may look further."""
        return self._rotated_keys(self._image_end)

    @only_looked_at
    def keys(self) -> torch.Tensor:
        """(I, n, d) float32, the rotated keys averaged over the key heads."""
        return self._at_image(self._keys.mean(dim=1, dtype=torch.float32))

    def _to_image_columns(self, rows: torch.Tensor) -> torch.Tensor:
        """(I, H, R, T) -> (I, H, R, n); zero where an image has no token."""
        if self._slice:
            return rows[..., self._slice]
        columns = self._columns[:, None, None].expand(*rows.shape[:3], -1)
        return rows.gather(-1, columns).masked_fill(~self.valid[:, None, None], 0)

    def _visible(self, columns: torch.Tensor, filler: torch.Tensor, keys: int) -> torch.Tensor:
        """Queries in columns (I, R), after `filler` (I, 1) of padding -> (I, R, keys) bool: what they may look at."""
        key = torch.arange(keys, device=columns.device)
        allowed = (key <= columns[..., None]) & (key >= filler[..., None])
        return allowed if self._window is None else allowed & (key > columns[..., None] - self._window)

    @only_looked_at
    def attention_from_image(self) -> torch.Tensor:
        """(I, H, n, n) float32; text before the image shares each row's softmax. Rows past an image's end are zero."""
        states = (self._hidden, self._cos, self._sin)  # not `values`, which would be remembered without a gradient
        queries = self._rotated_queries(*map(self._at_image, states))
        filler = self._layout.padding(queries.device)[self._rows]
        allowed = self._visible(self._columns, filler, self._image_end)
        probabilities = attention_rows(queries, self._by_image(self._keys), self._attention.scaling, allowed[:, None])
        received = self._to_image_columns(probabilities)
        return received if self._slice else received.masked_fill(~self.valid[:, None, :, None], 0)

    @only_looked_at
    def attention_from_last(self) -> torch.Tensor:
        """(I, H, 1, n) float32; the last prompt token sees its whole row. In training: the mean over `asking`."""
        columns, counts = self._asking_columns()
        hidden, cos, sin = (
            states.take_along_dim(columns[..., None], dim=1) for states in (self._hidden, self._cos, self._sin)
        )
        keys = self._rotated_keys(self._hidden.shape[1])
        allowed = self._visible(columns, self._layout.padding(keys.device), keys.shape[2])
        queries = self._rotated_queries(hidden, cos, sin)
        rows = attention_rows(queries, keys, self._attention.scaling, allowed[:, None])
        if counts is not None:
            asked = torch.arange(columns.shape[1], device=rows.device) < counts[:, None]
            rows = (rows * asked[:, None, :, None]).sum(dim=2, keepdim=True) / counts.clamp(min=1)[:, None, None, None]
        return self._to_image_columns(self._by_image(rows))

    def _asking_columns(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, R) int64 columns of queries, and (B,) how many of a row's are real; None: all."""
        device, last = self._hidden.device, self._hidden.shape[1] - 1
        if self._asking is None:
            return torch.full((len(self._hidden), 1), last, device=device), None
        most = max(map(len, self._asking))
        columns = [[*row, *[last] * (most - len(row))] for row in self._asking]
        return torch.tensor(columns, device=device), torch.tensor([len(row) for row in self._asking], device=device)

    @property
    def pixels(self) -> torch.Tensor:
        """Refused: the LLM sees tokens."""
        raise NotImplementedError("the LLM sees no pixels")

    def attention_from_cls(self) -> torch.Tensor:
        """Refused: there is no [CLS] inside the LLM."""
        raise NotImplementedError("the LLM has no [CLS] token")
