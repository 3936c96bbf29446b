"""VisionZip and VisionDrop computed once more, one token at a time, without anything of this project."""

import math
from typing import Any

import torch

Kept = tuple[list[int], dict[int, list[int]]]


def choose(scores: list[float], keys: torch.Tensor, dominant: int, contextual: int) -> Kept:
    """Numbers of the best, rising; and for each target those that join it. `keys`: (n, d)."""
    ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    best = sorted(ranked[:dominant])
    rest = [number for number in range(len(scores)) if number not in best]
    if not contextual or not rest:
        return best, {}
    step = max(1, len(rest) // contextual)
    targets = rest[::step][:contextual]
    joined: dict[int, list[int]] = {target: [] for target in targets}
    for number in rest:
        if number not in targets:
            alike = [torch.cosine_similarity(keys[number], keys[target], dim=0).item() for target in targets]
            joined[targets[alike.index(max(alike))]].append(number)
    return best, joined


def folded(values: torch.Tensor, joined: dict[int, list[int]]) -> list[torch.Tensor]:
    """Each target plus the mean of those that joined it."""
    return [
        values[target] + (values[others].mean(dim=0) if others else torch.zeros_like(values[target]))
        for target, others in joined.items()
    ]


def turned(vector: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE of one vector (d,)."""
    half = len(vector) // 2
    return vector * cos + torch.cat([-vector[half:], vector[:half]]) * sin


def decoder(
    model: Any,
    embeds: torch.Tensor,
    start: int,
    count: int,
    positions: torch.Tensor | None,
    stages: dict[int, tuple[int, int]],
    deep: list[torch.Tensor],
) -> torch.Tensor:
    """Logits (V,) of the last token of one prompt.

    Args:
        embeds: (T, D), of which `count` from `start` are the picture's.
        positions: (T, 3), kept; None: tokens are counted anew at every stage.
        stages: after so many layers, how many dominant and contextual tokens are left.
        deep: (T, D) each, added after the first layers.
    """
    text, hidden = model.model.language_model, embeds
    for number, layer in enumerate(text.layers):
        if number in stages:
            hidden, count, positions, deep = _stage(text, number, hidden, start, count, positions, stages[number], deep)
        cos, sin = text.rotary_emb(hidden[None], _given(hidden, positions))
        hidden = layer(hidden[None], attention_mask=None, position_embeddings=(cos, sin))[0]
        if number < len(deep):
            hidden = hidden + deep[number]
    return model.lm_head(text.norm(hidden[-1:]))[0]


def _given(hidden: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    return torch.arange(len(hidden))[None] if positions is None else positions.T[:, None]


def _stage(
    text: Any,
    number: int,
    hidden: torch.Tensor,
    start: int,
    count: int,
    positions: torch.Tensor | None,
    pair: tuple[int, int],
    deep: list[torch.Tensor],
) -> tuple[torch.Tensor, int, torch.Tensor | None, list[torch.Tensor]]:
    layer = text.layers[number]
    attention, normed = layer.self_attn, layer.input_layernorm(hidden)
    cos, sin = (
        table[..., 0, :, :] if table.ndim == 3 else table
        for table in text.rotary_emb(hidden[None], _given(hidden, positions))
    )
    if cos.ndim == 4:  # transformers 5.12: one table each for time, rows and columns
        sections = list(text.config.rope_parameters["mrope_section"]) * 2
        cos, sin = (
            torch.cat([part[place % 3] for place, part in enumerate(table.split(sections, dim=-1))], dim=-1)[0]
            for table in (cos, sin)
        )
    width = attention.head_dim
    queries, keys = (
        projection(normed).view(len(hidden), -1, width) for projection in (attention.q_proj, attention.k_proj)
    )
    if hasattr(attention, "q_norm"):
        queries, keys = attention.q_norm(queries), attention.k_norm(keys)
    heads, groups = queries.shape[1], keys.shape[1]
    rotated_keys = torch.stack(
        [torch.stack([turned(keys[t, g], cos[t], sin[t]) for g in range(groups)]) for t in range(len(hidden))]
    )
    received = [0.0] * count
    for head in range(heads):
        for asking in range(count):
            at = start + asking
            query = turned(queries[at, head], cos[at], sin[at])
            row = rotated_keys[: at + 1, head // (heads // groups)] @ query / math.sqrt(width)
            for place, value in enumerate(row.softmax(dim=0)[start:].tolist()):
                received[place] += value / heads / count
    best, joined = choose(received, rotated_keys.mean(dim=1)[start : start + count], *pair)
    order = [*range(start), *(start + place for place in best)]
    after = list(range(start + count, len(hidden)))

    def moved(states: torch.Tensor) -> torch.Tensor:
        made = folded(states[start : start + count], joined)
        return torch.stack([*states[order], *made, *states[after]])

    if positions is not None:
        positions = positions[[*order, *(start + target for target in joined), *after]]
    return moved(hidden), len(best) + len(joined), positions, [moved(one) for one in deep]
