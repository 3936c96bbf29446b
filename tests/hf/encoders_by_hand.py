"""What leaves the encoders of tiny models, chosen one token at a time, without anything of this project."""

from typing import Any

import torch
from by_hand import Kept, choose, folded
from transformers.vision_utils import get_vision_window_index

Reduced = tuple[torch.Tensor, list[int], list[torch.Tensor]]


def llava_tokens(model: Any, pixels: torch.Tensor, dominant: int, contextual: int) -> Reduced:
    """[CLS], dominant and contextual tokens of one picture (3, h, w); where they come from does not matter."""
    tower, heads = model.model.vision_tower, model.config.vision_config.num_attention_heads
    states = [tower.pre_layrnorm(tower.embeddings(pixels[None]))]
    for layer in tower.encoder.layers:
        states.append(layer(states[-1], attention_mask=None))
    entering, leaving, layer = states[-3], states[-2][0], tower.encoder.layers[-2]
    normed, attention = layer.layer_norm1(entering)[0], layer.self_attn
    queries, keys = (one(normed).view(len(normed), heads, -1) for one in (attention.q_proj, attention.k_proj))
    scores = torch.zeros(len(normed))
    for head in range(heads):
        row = keys[:, head] @ queries[0, head] / keys.shape[-1] ** 0.5
        scores += row.softmax(dim=0)
    best, joined = choose(scores[1:].tolist(), keys[1:].mean(dim=1), dominant - 1, contextual)
    patches = leaving[1:]
    tokens = torch.stack([leaving[0], *patches[best], *folded(patches, joined)])
    return model.model.multi_modal_projector(tokens), [0] * len(tokens), []


def intern_tokens(model: Any, tiles: torch.Tensor, dominant: int, contextual: int) -> Reduced:
    """Tokens of one picture of tiles (t, 3, h, w), tile after tile, each at its place or its target's."""
    tower, kept = model.model.vision_tower, []
    values = model.model.get_image_features(tiles, return_dict=True).pooler_output
    for own, tile in zip(values, tiles):
        states = [tower.embeddings(tile[None])]
        for layer in tower.encoder.layer:
            states.append(layer(states[-1]))
        layer = tower.encoder.layer[-1]
        attention, normed = layer.attention, layer.layernorm_before(states[-2])[0]
        queries, keys = (
            norm(projection(normed)).view(len(normed), attention.num_heads, -1)
            for norm, projection in ((attention.q_norm, attention.q_proj), (attention.k_norm, attention.k_proj))
        )
        received = torch.zeros(len(normed))
        for head in range(attention.num_heads):
            for query in queries[1:, head]:
                received += (keys[:, head] @ query / keys.shape[-1] ** 0.5).softmax(dim=0)
        side = round((len(normed) - 1) ** 0.5)
        squares = [
            [1 + (2 * row + down) * side + 2 * col + right for down in (0, 1) for right in (0, 1)]
            for row in range(side // 2)
            for col in range(side // 2)
        ]
        scores = [received[square].mean().item() for square in squares]
        chosen = choose(
            scores, torch.stack([keys[square].mean(dim=(0, 1)) for square in squares]), dominant, contextual
        )
        kept.append(_placed(own, chosen, sorted([*chosen[0], *chosen[1]])))
    return torch.cat(kept), [], []


def qwen_tokens(model: Any, pixels: torch.Tensor, grid: torch.Tensor, dominant: int, contextual: int) -> Reduced:
    """Tokens of one picture of Qwen's models, each at its place or its target's, their places, and deepstack's."""
    visual = model.model.visual
    full = getattr(visual, "fullatt_block_indexes", None)
    scores, unit_keys, made = received_by_units(model, pixels, grid, max(full) if full else len(visual.blocks) - 1)
    chosen = choose(scores, unit_keys, dominant, contextual)
    places = sorted([*chosen[0], *chosen[1]])
    layers = getattr(made, "deepstack_features", None) or []
    deep = [_placed(layer if isinstance(layer, torch.Tensor) else layer[0], chosen, places) for layer in layers]
    return _placed(made.pooler_output[0], chosen, places), places, deep


def received_by_units(
    model: Any, pixels: torch.Tensor, grid: torch.Tensor, block: int
) -> tuple[list[float], torch.Tensor, Any]:
    """What each merged token of one picture receives in a block, its key, and transformers' features."""
    visual, seen = model.model.visual, {}
    hook = visual.blocks[block].register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(hidden=args[0], rotary=kwargs["position_embeddings"]), with_kwargs=True
    )
    made = model.model.get_image_features(pixels, grid[None], return_dict=True)
    hook.remove()
    attention = visual.blocks[block].attn
    hidden, (cos, sin) = visual.blocks[block].norm1(seen["hidden"]), seen["rotary"]
    queries, keys, _ = attention.qkv(hidden).view(len(hidden), 3, attention.num_heads, -1).unbind(1)
    half = keys.shape[-1] // 2

    def turn(vectors: torch.Tensor) -> torch.Tensor:
        other = torch.cat([-vectors[..., half:], vectors[..., :half]], dim=-1)
        return vectors * cos[:, None] + other * sin[:, None]

    queries, keys, received = turn(queries), turn(keys), torch.zeros(len(hidden))
    for head in range(attention.num_heads):
        for query in queries[:, head]:
            received += (keys[:, head] @ query / keys.shape[-1] ** 0.5).softmax(dim=0)
    units = list(range(len(hidden) // 4))
    if getattr(visual, "fullatt_block_indexes", None):
        index, _ = get_vision_window_index(grid[None], spatial_merge_size=2, window_size=56, patch_size=14)
        units = [index.tolist().index(number) for number in units]
    scores = [received[4 * unit : 4 * unit + 4].mean().item() / len(hidden) / attention.num_heads for unit in units]
    return scores, torch.stack([keys[4 * unit : 4 * unit + 4].mean(dim=(0, 1)) for unit in units]), made


def _placed(values: torch.Tensor, chosen: Kept, places: list[int]) -> torch.Tensor:
    best, joined = chosen
    merged = dict(zip(joined, folded(values, joined)))
    return torch.stack([merged[place] if place in merged else values[place] for place in places])
