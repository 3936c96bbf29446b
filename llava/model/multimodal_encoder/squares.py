"""Pictures cut into squares that an encoder takes, and the squares' patches put together again (S2, arXiv 2403.13043).

Letters in shapes: V views, s squares along one side of a view, n patches of a square, D width.
"""

import torch
from torch.nn.functional import interpolate


def resized(pixels: torch.Tensor, scale: int) -> torch.Tensor:
    """(V, 3, h, w) -> (V, 3, scale, scale), bicubic, dtype kept, computed in float32.

    Values may leave the range of pixels.
    """
    return interpolate(pixels.float(), size=(scale, scale), mode="bicubic").to(pixels.dtype)


def cut(pixels: torch.Tensor, edge: int) -> torch.Tensor:
    """(V, 3, s * edge, s * edge) -> (V * s * s, 3, edge, edge): the squares of each view, row by row."""
    grid = pixels.unflatten(3, (-1, edge)).unflatten(2, (-1, edge))  # (V, 3, s, edge, s, edge)
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def put_together(states: torch.Tensor, views: int, side: int) -> torch.Tensor:
    """Hidden states of squares as one square's: patches averaged by area, [CLS] over the squares.

    Args:
        states: (V * s * s, 1 + n, D), as `cut` orders them, [CLS] first.
        side: patches along one side of a square; side * side = n.

    Returns:
        (V, 1 + n, D), dtype kept.
    """
    squares = states.unflatten(0, (views, -1))  # (V, s * s, 1 + n, D)
    across = round(squares.shape[1] ** 0.5)
    grid = squares[:, :, 1:].unflatten(2, (side, side)).unflatten(1, (across, across))
    picture = grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # (V, D, s * side, s * side)
    patches = interpolate(picture.float(), size=(side, side), mode="area").to(states.dtype)
    cls_token = squares[:, :, :1].mean(dim=1, dtype=torch.float32).to(states.dtype)
    return torch.cat([cls_token, patches.flatten(2).transpose(1, 2)], dim=1)
