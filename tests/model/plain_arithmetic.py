"""CLIP, projector and LLaMA in plain slow arithmetic from a model's weights, one head and one token at a time.

For models of width 16 with two heads, whose pictures are 6 x 6 patches, about the one prompt here.
"""

from collections.abc import Callable
from math import log, sqrt
from typing import Any

import torch

SIDE, PATCH, BEFORE = 6, 4, 2  # patches on a side, pixels of one, tokens before the picture
PROMPT = [1, 5, -200, 7, 3, 9, 4, 12]
Keep = Callable[[int, torch.Tensor, torch.Tensor], list[int] | None]


def linear(layer: Any, values: torch.Tensor) -> torch.Tensor:
    return values @ layer.weight.T + (0 if layer.bias is None else layer.bias)


def layer_norm(layer: Any, values: torch.Tensor) -> torch.Tensor:
    centred = values - values.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def rms_norm(layer: Any, values: torch.Tensor) -> torch.Tensor:
    return values / (values.pow(2).mean(-1, keepdim=True) + layer.variance_epsilon).sqrt() * layer.weight


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def merged(hidden: torch.Tensor, sizes: list[int], keys: torch.Tensor, pairs: int) -> tuple[torch.Tensor, list[int]]:
    """ToMe's step over (t, D): the even tokens that stay, then the odd ones with what joined them."""
    even, odd = range(0, len(hidden), 2), range(1, len(hidden), 2)
    nearest = {a: max(odd, key=lambda b, a=a: cosine(keys[a], keys[b])) for a in even if a}
    going = sorted(nearest, key=lambda a: -cosine(keys[a], keys[nearest[a]]))[:pairs]
    tokens, counts = [hidden[a] for a in even if a not in going], [sizes[a] for a in even if a not in going]
    for b in odd:
        members = [b, *(a for a in going if nearest[a] == b)]
        counts.append(sum(sizes[at] for at in members))
        tokens.append(sum(sizes[at] * hidden[at] for at in members) / counts[-1])
    return torch.stack(tokens), counts


def encoded(
    model: Any, pixels: torch.Tensor, plan: tuple[int, ...] = (0, 0, 0, 0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """(t, D) that leave the encoder, [CLS] first, and (t,) what [CLS] gave in the last layer, heads added up.

    Args:
        plan: pairs that ToMe merges in each layer.
    """
    tower = model.get_vision_tower().vision_tower
    squares = pixels[0].unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    patches = squares @ tower.embeddings.patch_embedding.weight.flatten(1).T
    hidden = torch.cat([tower.embeddings.class_embedding[None], patches]) + tower.embeddings.position_embedding.weight
    hidden, sizes, given = layer_norm(tower.pre_layrnorm, hidden), [1] * (1 + SIDE**2), torch.zeros(0)
    for layer, pairs in zip(tower.encoder.layers, plan):
        entering, own = layer_norm(layer.layer_norm1, hidden), layer.self_attn
        queries, keys, values = (
            linear(part, entering).split(8, dim=1) for part in (own.q_proj, own.k_proj, own.v_proj)
        )
        weight = torch.tensor([log(size) for size in sizes])
        rows = [(q @ k.T / sqrt(8) + weight).softmax(-1) for q, k in zip(queries, keys)]
        given = sum(row[0] for row in rows)
        hidden = hidden + linear(own.out_proj, torch.cat([row @ v for row, v in zip(rows, values)], dim=1))
        if pairs:
            hidden, sizes = merged(hidden, sizes, sum(keys) / len(keys), pairs)
        wide = linear(layer.mlp.fc1, layer_norm(layer.layer_norm2, hidden))
        hidden = hidden + linear(layer.mlp.fc2, wide * torch.sigmoid(1.702 * wide))
    return hidden, given


def turned(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """RoPE over (t, 8) of one head."""
    angles = positions[:, None] * 10000.0 ** (-torch.arange(4) / 4)
    one, other = values[:, :4], values[:, 4:]
    return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], dim=1)


def answered(model: Any, image: torch.Tensor, keep: Keep = lambda *_: None, renumber: bool = True) -> torch.Tensor:
    """(V,) the last logits of `PROMPT` with (n, D) image tokens.

    Args:
        keep: from the number of a layer, the image tokens that enter it and those as they entered the one before, which
            stay; None: all.
        renumber: positions after a drop are 0, 1, ...
    """
    language, words = model.get_model(), model.get_model().embed_tokens.weight
    hidden = torch.cat([words[PROMPT[:BEFORE]], image, words[PROMPT[BEFORE + 1 :]]])
    positions, count, entered = torch.arange(len(hidden)), len(image), hidden
    for number, layer in enumerate(language.layers):
        span = slice(BEFORE, BEFORE + count)
        left = keep(number, hidden[span], entered[span])
        if left is not None:
            places = [*range(BEFORE), *(BEFORE + at for at in left), *range(BEFORE + count, len(hidden))]
            hidden, count = hidden[places], len(left)
            positions = torch.arange(len(hidden)) if renumber else positions[places]
        entered, own = hidden, layer.self_attn
        values = rms_norm(layer.input_layernorm, hidden)
        queries, keys, seen = (linear(part, values).split(8, dim=1) for part in (own.q_proj, own.k_proj, own.v_proj))
        later = torch.ones(len(hidden), len(hidden)).triu(1).bool()
        rows = [turned(q, positions) @ turned(k, positions).T / sqrt(8) for q, k in zip(queries, keys)]
        mixed = [row.masked_fill(later, -torch.inf).softmax(-1) @ v for row, v in zip(rows, seen)]
        hidden = hidden + linear(own.o_proj, torch.cat(mixed, dim=1))
        values = rms_norm(layer.post_attention_layernorm, hidden)
        gate = linear(layer.mlp.gate_proj, values)
        hidden = hidden + linear(layer.mlp.down_proj, gate * torch.sigmoid(gate) * linear(layer.mlp.up_proj, values))
    return linear(model.lm_head, rms_norm(language.norm, hidden[-1]))


def projected(model: Any, values: torch.Tensor) -> torch.Tensor:
    first, _, second = model.get_model().mm_projector
    inner = linear(first, values)
    return linear(second, inner * (1 + torch.erf(inner / sqrt(2))) / 2)
