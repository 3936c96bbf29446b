"""What a method may ask before the LLM about pictures whose patches were merged four to one (Qwen's towers).

A merged token's score is the mean over its patches of the attention they receive, within their picture, in the last
block that looks at whole pictures; its key is the mean of theirs, after rotation, over heads. So published for
VisionZip on Qwen2.5-VL. Values are the tokens as the LLM gets them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate.utils import align_module_device
from transformers.models.llama.modeling_llama import rotate_half

from llava.model.layer_parts import normed, projected
from llava.reduction.precision import without_autocast

# Entries of an attention matrix held at a time: what a processor's own cache holds, and 256 MiB elsewhere.
CPU_ENTRIES, ENTRIES = 2**18, 2**26


@dataclass(frozen=True)
class Watched:
    """What enters a block of the tower: (rows, D) of all pictures, and Qwen's rotary tables (rows, d)."""

    block: Any
    hidden: torch.Tensor
    rotary: tuple[torch.Tensor, torch.Tensor] | None


class Watching:
    """Mixed in before a block of a tower; what enters it is left in `seen`, a dictionary of the call's, by `place`."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """transformers' call."""
        own = self.__dict__
        own["seen"][own["place"]] = Watched(self, hidden_states, kwargs.get("position_embeddings"))
        with align_module_device(self):  # type: ignore[arg-type]  # weights that are kept elsewhere between calls
            return super().forward(hidden_states, *args, **kwargs)  # type: ignore[misc]


class MergedTokens:
    """What evidence about merged tokens has in common, V rows of n: all there are, and what cannot be asked of them.

    Args:
        values: (V, n, D), the tokens as the LLM gets them.
    """

    has_cls = False
    without_cls: str
    """Why nothing can be asked of [CLS]."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values
        self.lengths = self.initial_lengths = self.largest_lengths = (values.shape[1],) * len(values)
        self.valid = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)

    def attention_from_image(self) -> torch.Tensor:
        """Refused: of merged tokens there is what they receive."""
        raise NotImplementedError("attention between merged tokens is not defined; ask for attention_received")

    def attention_from_cls(self) -> torch.Tensor:
        """Refused: [CLS] is none of the tokens."""
        raise NotImplementedError(self.without_cls)

    def attention_from_last(self) -> torch.Tensor:
        """Refused: there is no prompt in the encoder."""
        raise NotImplementedError("an encoder layer sees no prompt")


class MergedEvidence(MergedTokens):
    """Evidence about I pictures of n tokens each. Implements what there is of `llava.reduction.EncoderEvidence`.

    Args:
        values: (I, n, D), the tokens as the LLM gets them, row by row of the picture.
        rows: (I, n, unit) int64, where each token's patches are among the rows of the tower.
        watched: blocks by number, and `main`, the number of the one that is asked.
        patches: (rows, C), the pixels of all patches; row by row as the tower was given them.
        order: (I, n * unit) int64, the rows of `patches` of each picture.
        shape: rows and columns of tokens.
    """

    without_cls = "Qwen's towers have no [CLS] token"

    def __init__(
        self,
        values: torch.Tensor,
        rows: torch.Tensor,
        watched: Mapping[int, Watched],
        main: int,
        patches: torch.Tensor,
        order: torch.Tensor,
        shape: tuple[int, int],
    ) -> None:
        super().__init__(values)
        self._rows, self._all_watched, self._watched = rows, watched, watched[main]
        self._patches, self._order, self.shape = patches, order, shape

    @property
    def width(self) -> int:
        """Tokens in a row of the picture."""
        return self.shape[1]

    @property
    def views(self) -> tuple[int, ...]:
        """Every picture is seen once."""
        return (1,) * len(self.lengths)

    def layer(self, number: int) -> "MergedEvidence":
        """The same of another block that was watched."""
        places = (self._patches, self._order, self.shape)
        return MergedEvidence(self.values, self._rows, self._all_watched, number, *places)

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
        assert self._watched.rotary is not None
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
            scale = self._watched.block.attn.scaling
            received = torch.stack([mean_of_columns(*pair, scale) for pair in zip(*self._heads)])
            return received.unflatten(1, self._rows.shape[1:]).mean(dim=2)

    received_from_all = attention_received


def mean_of_columns(queries: torch.Tensor, keys: torch.Tensor, scale: float) -> torch.Tensor:
    """What each of T tokens receives: (H, T, d) float32 queries and keys -> (T,), the mean over heads and queries.

    The matrix of all heads never is: on a processor a few rows of a head at a time, which stay in its cache (a third of
    the time), elsewhere as many of all heads as fit.
    """
    heads, count = queries.shape[:2]
    on_cpu = queries.device.type == "cpu"
    together, entries = (1, CPU_ENTRIES) if on_cpu else (heads, ENTRIES)
    at_once = max(1, entries // (together * count))
    total = queries.new_zeros(count)
    for some, theirs in zip(queries.split(together), (keys * scale).transpose(1, 2).split(together)):
        for part in some.split(at_once, dim=1):
            total += (part @ theirs).softmax(dim=-1).sum(dim=(0, 1))
    return total / (heads * count)
