"""What a method wants of an encoder besides the output of its last layer that runs, and how the encoder gives it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import interpolate, scaled_dot_product_attention

from llava.model.layer_parts import normed, projected, split_heads
from llava.reduction import Reduction
from llava.reduction.rules.tome import follow, match_pairs, merge_pairs


@dataclass(frozen=True)
class Wanted:
    """A method's wishes.

    Attributes:
        layers: numbers of layers, from 0, whose entering states are to be handed on.
        pairs: tokens merged within each layer that runs (ToMe); empty: none.
        grid: rows and columns of patches of a smaller picture; None: the picture as it is.
    """

    layers: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()
    grid: tuple[int, int] | None = None

    @classmethod
    def of(cls, method: Reduction | None, depth: int, run: int, side: int) -> "Wanted":
        """What a method wants of an encoder of `depth` layers of which `run` run, with side^2 patches."""
        if method is None:
            return cls()
        layers = tuple(depth + layer if layer < 0 else layer for layer in method.encoder_layers)
        return cls(layers, method.merges(side * side, run), method.grid(side))

    @property
    def nothing(self) -> bool:
        """True for all methods that look at the last layer alone."""
        return not self.layers and not any(self.pairs) and self.grid is None


@dataclass
class Seen:
    """States of an encoder's run: what enters and leaves its last layer, and what else was wanted.

    Attributes:
        entering, leaving: (V, tokens, D).
        others: what enters other layers, by number.
        into: (V, patches) int64, with `pairs`: the place of each patch among the tokens.
    """

    entering: torch.Tensor
    leaving: torch.Tensor
    others: dict[int, torch.Tensor] = field(default_factory=dict)
    into: torch.Tensor | None = None


def smaller(pixels: torch.Tensor, grid: tuple[int, int], patch: int) -> torch.Tensor:
    """(V, 3, h, w) pixels -> (V, 3, rows * patch, cols * patch), antialiased; computed in float32, dtype kept."""
    size = (grid[0] * patch, grid[1] * patch)
    return interpolate(pixels.float(), size, mode="bilinear", antialias=True).to(pixels.dtype)


def run_layers(layers: Any, hidden: torch.Tensor, run: int, wanted: Wanted, first: int) -> Seen:
    """The first `run` layers over (V, tokens, D), and as many more as other layers' states ask for.

    Args:
        first: the number of the first patch among the tokens: 1 after [CLS].
    """
    others: dict[int, torch.Tensor] = {}
    place = torch.arange(first, hidden.shape[1], device=hidden.device)
    into = place.expand(len(hidden), -1) if any(wanted.pairs) else None
    sizes = torch.ones(hidden.shape[:2], device=hidden.device)
    entering = leaving = hidden
    for number in range(max(run, *wanted.layers, 0) if wanted.layers else run):
        if number in wanted.layers:
            others[number] = hidden
        before = hidden
        if into is None or number >= run:
            hidden = layers[number](hidden, attention_mask=None)
        else:
            hidden, sizes, into = merging_layer(layers[number], hidden, sizes, into, wanted.pairs[number])
        if number < run:
            entering, leaving = before, hidden
    others |= {number: hidden for number in wanted.layers if number not in others}
    return Seen(entering, leaving, others, None if into is None else into - first)


def merging_layer(
    layer: Any, hidden: torch.Tensor, sizes: torch.Tensor, into: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A CLIP layer that merges `pairs` of its tokens between attention and MLP (ToMe).

    Args:
        hidden: (V, t, D); sizes: (V, t) float32, patches each token stands for; into: (V, n) int64, the token of each
            patch. All three come back of the tokens that are left.
    """
    attention, entering = layer.self_attn, normed(layer.layer_norm1, hidden)
    parts = (projected(part, entering) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    queries, keys, values = (split_heads(part, attention.head_dim) for part in parts)
    # The kernels of flash attention take no such mask, so SDPA it is, whatever the tower uses elsewhere.
    weights = sizes.log()[:, None, None].to(queries.dtype)
    attended = scaled_dot_product_attention(queries, keys, values, attn_mask=weights, scale=attention.scale)
    hidden = hidden + projected(attention.out_proj, attended.transpose(1, 2).flatten(2))
    if pairs:
        match = match_pairs(keys.mean(dim=1, dtype=torch.float32), pairs)
        into = follow(into, match, hidden.shape[1])
        hidden, sizes = merge_pairs(hidden, sizes, match)
    return hidden + layer.mlp(normed(layer.layer_norm2, hidden)), sizes, into
