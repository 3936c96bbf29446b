"""What a method may ask before the LLM about pictures whose patches were merged four to one (Qwen's towers).

A merged token's score is the mean over its patches of the attention they receive, within their picture, in the last
block that looks at whole pictures; its key is the mean of theirs, after rotation, over heads. So published for
VisionZip on Qwen2.5-VL. Values are the tokens as the LLM gets them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers.models.llama.modeling_llama import rotate_half

from llava.model.layer_parts import normed, projected
from llava.reduction.precision import without_autocast
from llava.reduction.scoring import attention_rows

AT_ONCE = 256  # queries whose attention is held at a time


@dataclass(frozen=True)
class Watched:
    """What enters a block of the tower: (rows, D) of all pictures, and the rotary tables (rows, d)."""

    block: Any
    hidden: torch.Tensor
    rotary: tuple[torch.Tensor, torch.Tensor]


class Watching:
    """Mixed in before a block of a tower; what enters it is left in `seen`, a list of the call's."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """transformers' call."""
        self.__dict__["seen"].append(Watched(self, hidden_states, kwargs["position_embeddings"]))
        return super().forward(hidden_states, *args, **kwargs)


class MergedEvidence:
    """Evidence about I pictures of n tokens each. Implements what there is of `llava.reduction.Evidence`.

    Args:
        values: (I, n, D), the tokens as the LLM gets them, row by row of the picture.
        rows: (I, n, unit) int64, where each token's patches are among the rows of the tower.
        watched: the block.
        patches: (rows, C), the pixels of all patches; row by row as the tower was given them.
        order: (I, n * unit) int64, the rows of `patches` of each picture.
    """

    has_cls = False

    def __init__(
        self, values: torch.Tensor, rows: torch.Tensor, watched: Watched, patches: torch.Tensor, order: torch.Tensor
    ) -> None:
        self.values, self._rows, self._watched = values, rows, watched
        self._patches, self._order = patches, order
        self.lengths = self.initial_lengths = self.largest_lengths = (values.shape[1],) * len(values)
        self.valid = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)

    @property
    def pixels(self) -> torch.Tensor:
        """(I, patches, C), the pixels of each picture's patches in the order in which they came."""
        return self._patches[self._order.to(self._patches.device)]

    @cached_property
    def _heads(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotated queries and keys (I, H, n * unit, d) float32 of each picture's patches, four of a token together."""
        attention, states = self._watched.block.attn, self._watched.hidden[self._rows.flatten(1)]
        both = projected(attention.qkv, normed(self._watched.block.norm1, states))
        queries, keys, _ = both.unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
        cos, sin = (table[self._rows.flatten(1)][:, :, None].float() for table in self._watched.rotary)
        turned = (one.float() * cos + rotate_half(one.float()) * sin for one in (queries, keys))
        first, second = (one.to(states.dtype).float().transpose(1, 2) for one in turned)
        return first, second

    def keys(self) -> torch.Tensor:
        """(I, n, d) float32, after rotation, averaged over heads and a token's patches."""
        with torch.no_grad(), without_autocast(self.values.device):
            keys = self._heads[1].mean(dim=1)
            return keys.unflatten(1, self._rows.shape[1:]).mean(dim=2)

    def attention_received(self) -> torch.Tensor:
        """(I, n) float32, what a token's patches receive from all of the picture; mean over heads, queries, patches."""
        with torch.no_grad(), without_autocast(self.values.device):
            received = torch.cat([self._received(*pair) for pair in zip(*(one.split(1) for one in self._heads))])
            return received.unflatten(1, self._rows.shape[1:]).mean(dim=2)

    def _received(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(1, H, T, d) of one picture -> (1, T) float32, a few queries at a time, which a processor's cache holds."""
        scale, heads, count = self._watched.block.attn.scaling, *queries.shape[1:3]
        parts = [attention_rows(part, keys, scale).sum(dim=(1, 2)) for part in queries.split(AT_ONCE, dim=2)]
        return torch.stack(parts).sum(dim=0) / (heads * count)

    received_from_all = attention_received

    def attention_from_image(self) -> torch.Tensor:
        """Refused: of merged tokens there is what they receive."""
        raise NotImplementedError("attention between merged tokens is not defined; ask for attention_received")

    def attention_from_cls(self) -> torch.Tensor:
        """Refused: there is no [CLS]."""
        raise NotImplementedError("Qwen's towers have no [CLS] token")

    def attention_from_last(self) -> torch.Tensor:
        """Refused: there is no prompt in the encoder."""
        raise NotImplementedError("an encoder layer sees no prompt")
