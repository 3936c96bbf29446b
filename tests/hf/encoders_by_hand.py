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


def qwen_tokens(model: Any, pixels: torch.Tensor, grid: torch.Tensor, dominant: int, contextual: int) -> Reduced:
    """Tokens of one picture of Qwen's models, each at its place or its target's, their places, and deepstack's."""
    visual, seen = model.model.visual, {}
    full = getattr(visual, "fullatt_block_indexes", None)
    block = visual.blocks[max(full) if full else -1]
    hook = block.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(hidden=args[0], rotary=kwargs["position_embeddings"]), with_kwargs=True
    )
    made = model.model.get_image_features(pixels, grid[None], return_dict=True)
    hook.remove()
    attention = block.attn
    hidden, (cos, sin) = block.norm1(seen["hidden"]), seen["rotary"]
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
    if full:
        index, _ = get_vision_window_index(grid[None], spatial_merge_size=2, window_size=56, patch_size=14)
        units = [index.tolist().index(number) for number in units]
    scores = [received[4 * unit : 4 * unit + 4].mean().item() for unit in units]
    unit_keys = torch.stack([keys[4 * unit : 4 * unit + 4].mean(dim=(0, 1)) for unit in units])
    chosen = choose(scores, unit_keys, dominant, contextual)
    places = sorted([*chosen[0], *chosen[1]])
    layers = getattr(made, "deepstack_features", None) or []
    deep = [_placed(layer if isinstance(layer, torch.Tensor) else layer[0], chosen, places) for layer in layers]
    return _placed(made.pooler_output[0], chosen, places), places, deep


def _placed(values: torch.Tensor, chosen: Kept, places: list[int]) -> torch.Tensor:
    best, joined = chosen
    merged = dict(zip(joined, folded(values, joined)))
    return torch.stack([merged[place] if place in merged else values[place] for place in places])
