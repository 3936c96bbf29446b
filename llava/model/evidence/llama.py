"""What a method may ask a layer of a LLaMA-like decoder; letters in shapes as in this room's `__init__`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from llava.model.evidence.tokens import LayoutTokens
from llava.model.language_model.masks import window_of
from llava.model.layer_parts import normed, only_looked_at, own_weight, projected, rotated
from llava.model.layout import Layout
from llava.reduction.precision import without_autocast
from llava.reduction.scoring import attention_rows
from llava.reduction.sent import sent


@dataclass(frozen=True)
class Around:
    """What else of a forward pass a method may ask about when tokens are about to enter a layer.

    Attributes:
        layer_before: the layer that has just run, and `entered_before` (B, T, D), what entered it.
        last_norm: the norm after the last layer.
        embeds: (B, T0, D), what entered the LLM, and `embeds_layout`, where the same images were in it.
        embeds_ends: for each row the column of `embeds` behind its text; None: the end.
    """

    layer_before: Any
    entered_before: torch.Tensor
    last_norm: Any
    embeds: torch.Tensor
    embeds_layout: Layout
    embeds_ends: Sequence[int] | None = None


class LlamaEvidence(LayoutTokens):
    """Evidence of one LLaMA-like decoder layer about the image tokens that are about to enter it.

    Implements `llava.reduction.layer_evidence.LayerEvidence`.

    Args:
        layer: transformers' LlamaDecoderLayer, or one with the same names (Mistral, Qwen2).
        hidden: (B, T, D), the hidden states that enter the layer, padded on the left.
        layout: where the images are; it has at least one.
        rotary: cos and sin, (1 or B, T, d), at the current positions.
        asking: for each row the columns of the tokens that are about to answer, in training: the last one before each
            answer. A row with an image has one at least. None: the last token of the prompt.
        around: what lies around the layer; None: nothing is asked about it.
    """

    has_cls = False

    def __init__(
        self,
        layer: Any,
        hidden: torch.Tensor,
        layout: Layout,
        rotary: tuple[torch.Tensor, torch.Tensor],
        asking: Sequence[Sequence[int]] | None = None,
        around: "Around | None" = None,
    ) -> None:
        # A row that nothing is asked of has no image here.
        ends = [columns[-1] + 1 if columns else 0 for columns in asking] if asking is not None else None
        super().__init__(hidden, layout, ends)
        self._attention, self._norm = layer.self_attn, layer.input_layernorm
        self._asking, self._around, self._rotary = asking, around, rotary
        self._window = window_of(self._attention)
        self._cos, self._sin = (table.expand(len(hidden), -1, -1) for table in rotary)
        self.initial_lengths = tuple(span.initial for span in layout.spans)
        self.largest_lengths = tuple(max(span.initial, span.largest) for span in layout.spans)

    @cached_property
    def ran(self) -> "LlamaEvidence":
        """The same of the layer that has just run, about the tokens that entered it."""
        assert self._around is not None, "nothing is known around this layer"
        around = self._around
        return LlamaEvidence(around.layer_before, around.entered_before, self._layout, self._rotary, self._asking)

    @cached_property
    def entered(self) -> LayoutTokens:
        """The embeddings of the images and of their text."""
        assert self._around is not None, "nothing is known around this layer"
        return LayoutTokens(self._around.embeds, self._around.embeds_layout, self._around.embeds_ends)

    def through_last_norm(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D), by the norm after the last layer."""
        assert self._around is not None, "nothing is known around this layer"
        norm = self._around.last_norm
        with torch.no_grad(), without_autocast(states.device):
            return normed(norm, states.to(own_weight(norm).device)).to(states.device)

    @cached_property
    def _image_end(self) -> int:
        spans, lengths, width = self._layout.spans, self._layout.lengths, self._layout.width
        return max(width - lengths[span.row] + span.start + span.length for span in spans)

    def _rotated_keys(self, end: int) -> torch.Tensor:
        """(B, G, end, d)."""
        keys = self._heads("k", self._hidden[:, :end])
        return rotated(keys, self._cos[:, :end], self._sin[:, :end])

    def _rotated_queries(self, states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Hidden states (I, R, D) and their rotary tables -> (I, H, R, d)."""
        return rotated(self._heads("q", states), cos, sin)

    def _heads(self, kind: str, states: torch.Tensor) -> torch.Tensor:
        """Hidden states (I, T, D) -> queries or keys (I, heads, T, d), through a norm of their own in Qwen3."""
        projection = getattr(self._attention, f"{kind}_proj")
        heads = projected(projection, normed(self._norm, states)).unflatten(-1, (-1, self._attention.head_dim))
        own = getattr(self._attention, f"{kind}_norm", None)
        return (heads if own is None else own(heads)).transpose(1, 2)

    @cached_property
    def _all_keys(self) -> torch.Tensor:
        return self._rotated_keys(self._hidden.shape[1])

    @cached_property
    def _keys(self) -> torch.Tensor:
        """Keys up to the last image token: no image query may look further."""
        known = "_all_keys" in vars(self)
        return self._all_keys[:, :, : self._image_end] if known else self._rotated_keys(self._image_end)

    @only_looked_at
    def keys(self) -> torch.Tensor:
        """(I, n, d) float32, the rotated keys averaged over the key heads."""
        return self._at_image(self._keys.mean(dim=1, dtype=torch.float32))

    @only_looked_at
    def keys_by_head(self) -> torch.Tensor:
        """(I, G, n, d) float32, the rotated keys of the key heads."""
        return self._at_image(self._keys.transpose(1, 2)).transpose(1, 2).float()

    @only_looked_at
    def text_keys_by_head(self) -> torch.Tensor:
        """(I, G, t, d) float32, those of the text."""
        return self._at_text(self._all_keys.transpose(1, 2)).transpose(1, 2).float()

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
        keys = self._all_keys
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
        return sent(columns, device), sent([len(row) for row in self._asking], device)

    @only_looked_at
    def attention_from_text(self) -> torch.Tensor:
        """(I, H, t, n) float32; a text token sees its row up to itself."""
        columns, valid = self._text[0], self.text_valid
        queries = self._rotated_queries(*map(self._at_text, (self._hidden, self._cos, self._sin)))
        keys = self._by_image(self._all_keys)
        allowed = self._visible(columns, self._layout.padding(keys.device)[self._rows], keys.shape[2])
        rows = attention_rows(queries, keys, self._attention.scaling, allowed[:, None])
        return self._to_image_columns(rows).masked_fill(~valid[:, None, :, None], 0)

    @only_looked_at
    def rotary_products_from_text(self) -> torch.Tensor:
        """(I, t, n) float32: rotated vectors of ones, scaled as queries and keys are."""
        ones = torch.ones_like(self._cos, dtype=torch.float32)[:, None]
        turned = rotated(ones, self._cos.float(), self._sin.float())[:, 0]
        return self._at_text(turned) @ self._at_image(turned).transpose(1, 2) * self._attention.scaling

    @property
    def pixels(self) -> torch.Tensor:
        """Refused: the LLM sees tokens."""
        raise NotImplementedError("the LLM sees no pixels")

    def attention_from_cls(self) -> torch.Tensor:
        """Refused: there is no [CLS] inside the LLM."""
        raise NotImplementedError("the LLM has no [CLS] token")
