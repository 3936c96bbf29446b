"""LLaVA-NeXT's and OneVision's pictures of tiles computed once more, one token at a time, without this project."""

import math
from typing import Any

import torch
from by_hand import choose, folded

SIDE = 6  # patches along a view of the tiny models
View = tuple[list[torch.Tensor], list[int], list[torch.Tensor], list[torch.Tensor]]


def grid(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles of 84 pixels that a picture of `size` (height, width) is cut into, at most 2 x 2.

    Of the shapes that there are: most of the picture's pixels, then the least that is wasted.
    """
    best, found = (-1, 0), (0, 0)
    for rows, cols in ((1, 2), (2, 1), (2, 2)):
        high, wide = 84 * rows, 84 * cols
        scale = min(high / size[0], wide / size[1])
        used = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        if (used, used - high * wide) > best:
            best, found = (used, used - high * wide), (rows, cols)
    return found


def tower(model: Any, view: torch.Tensor) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """States (n, D) that enter the layer whose output is used, that layer, and its output."""
    vision = model.model.vision_tower
    states = vision.embeddings(view[None])
    states = [vision.pre_layrnorm(states) if hasattr(vision, "pre_layrnorm") else states]
    for layer in vision.encoder.layers:
        states.append(layer(states[-1], attention_mask=None))
    at = model.config.vision_feature_layer
    return states[at - 1][0], vision.encoder.layers[at], states[at][0]


def kept_of_view(model: Any, view: torch.Tensor, dominant: int, contextual: int) -> View:
    """[CLS] where there is one, dominant patches and their numbers, and contextual tokens, of one view."""
    entering, layer, leaving = tower(model, view)
    attention, normed = layer.self_attn, layer.layer_norm1(entering)
    heads = attention.num_heads
    queries, keys = (one(normed).view(len(normed), heads, -1) for one in (attention.q_proj, attention.k_proj))
    lead = len(normed) - SIDE**2  # 1 with [CLS]
    asking, scores = range(1) if lead else range(len(normed)), torch.zeros(len(normed))
    for head in range(heads):
        for query in asking:
            scores += (keys[:, head] @ queries[query, head] / keys.shape[-1] ** 0.5).softmax(dim=0)
    best, joined = choose(scores[lead:].tolist(), keys[lead:].mean(dim=1), dominant - lead, contextual)
    patches = leaving[lead:]
    return [*leaving[:lead]], best, [*patches[best]], folded(patches, joined)


def reduced_tokens(
    model: Any, views: torch.Tensor, size: tuple[int, int], dominant: int, contextual: int
) -> torch.Tensor:
    """(n, D) of one picture: the base view; the tiles' patches row by row over all of them; [CLS]; contextual tokens.

    Args:
        views: (v, 3, h, w) and more that are not looked at.
        size: (height, width) of the picture.
    """
    rows, cols = grid(size)
    (cls, _, best, others), *tiles = [
        kept_of_view(model, view, dominant, contextual) for view in views[: 1 + rows * cols]
    ]
    placed = []
    for number, (_, places, patches, _) in enumerate(tiles):
        down, right = divmod(number, cols)
        for place, patch in zip(places, patches):
            placed.append((down * SIDE + place // SIDE, right * SIDE + place % SIDE, patch))
    placed.sort(key=lambda one: one[:2])
    tokens = [*cls, *best, *others, *(patch for _, _, patch in placed)]
    tokens += [token for own, _, _, _ in tiles for token in own]
    tokens += [token for _, _, _, own in tiles for token in own]
    return model.model.multi_modal_projector(torch.stack(tokens))


def whole_tokens(model: Any, views: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(n, D) of one picture of which nothing was dropped: base view, then rows of the picture that end in a newline."""
    rows, cols = grid(size)
    seen = []
    for view in views[: 1 + rows * cols]:
        _, _, leaving = tower(model, view)
        seen.append(model.model.multi_modal_projector(leaving[-(SIDE**2) :]))
    lines = [
        [seen[1 + row // SIDE * cols + col // SIDE][row % SIDE * SIDE + col % SIDE] for col in range(cols * SIDE)]
        for row in range(rows * SIDE)
    ]
    lines = without_padding(lines, size)
    if hasattr(model.config, "vision_aspect_ratio"):  # `anyres_max_1`
        ratio = math.sqrt(len(lines) * len(lines[0]) / SIDE**2)
        if ratio > 1.1:
            lines = shrunk(lines, int(len(lines) // ratio), int(len(lines[0]) // ratio))
    newline = model.model.image_newline
    return torch.stack([*seen[0], *(token for line in lines for token in [*line, newline])])


def without_padding(lines: list[list[torch.Tensor]], size: tuple[int, int]) -> list[list[torch.Tensor]]:
    """Without what lies above and below, or left and right of a picture of `size` (height, width)."""
    high, wide = len(lines), len(lines[0])
    if size[1] / size[0] > wide / high:
        cut = (high - int(round(size[0] * wide / size[1], 7))) // 2
        return lines[cut : high - cut]
    cut = (wide - int(round(size[1] * high / size[0], 7))) // 2
    return [line[cut : wide - cut] for line in lines]


def shrunk(lines: list[list[torch.Tensor]], high: int, wide: int) -> list[list[torch.Tensor]]:
    """Each token a mean of the four that its centre lies between, by how near they are."""

    def near(number: int, new: int, old: int) -> tuple[int, int, float]:
        centre = max(0.0, (number + 0.5) * old / new - 0.5)
        first = int(centre)
        return first, min(first + 1, old - 1), centre - first

    made = []
    for row in range(high):
        top, bottom, down = near(row, high, len(lines))
        line = []
        for col in range(wide):
            left, right, across = near(col, wide, len(lines[0]))
            upper, lower = (lines[at][left] * (1 - across) + lines[at][right] * across for at in (top, bottom))
            line.append(upper * (1 - down) + lower * down)
        made.append(line)
    return made


def scaled(pair: tuple[int, int], own: int, largest: int) -> tuple[int, int]:
    """Dominant and contextual tokens that a pair of the largest picture's is for one that entered with `own`."""
    total, contextual = (max(1, math.floor(count * own / largest + 0.5)) for count in (sum(pair), pair[1]))
    contextual = min(contextual, total - 1)
    return total - contextual, contextual
