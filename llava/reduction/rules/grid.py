"""A view's square of patches as a coarser grid of cells, for the controls `pool` and `downsample`."""

import torch

# How many times as long as wide a grid may be, and where that leaves more than a fiftieth of a budget unused.
LONGEST, LONGER = 2, 4


def fitting_grid(count: int, side: int) -> tuple[int, int]:
    """Rows and columns, `side` at most, of the largest grid of at most `count` cells; of several the squarest.

    Columns are no fewer than rows and no more than twice as many, or four times where that comes nearer by far.
    """
    best = (1, 1)
    for longest in (LONGEST, LONGER):
        grids = [
            (rows, cols)
            for rows in range(1, side + 1)
            for cols in range(rows, min(side, longest * rows) + 1)
            if rows * cols <= count
        ]
        best = max(grids, key=lambda grid: (grid[0] * grid[1], grid[0]), default=best)
        if 50 * best[0] * best[1] >= 49 * count:
            break
    return best


def cells(rows: int, cols: int, side: int, device: torch.device) -> torch.Tensor:
    """(1, side^2) int64: the cell of each patch, row by row; cells differ by a patch in height or width at most."""
    place = torch.arange(side, device=device)
    return ((place * rows // side)[:, None] * cols + place * cols // side).reshape(1, -1)


def middles(rows: int, cols: int, side: int, device: torch.device) -> torch.Tensor:
    """(1, rows * cols) int64: the patch in the middle of each cell, ascending by cell."""

    def middle(count: int) -> torch.Tensor:
        # Cell c begins at the first place p with p * count // side == c.
        edges = (torch.arange(count + 1, device=device) * side + count - 1) // count
        return (edges[:-1] + edges[1:] - 1) // 2

    return (middle(rows)[:, None] * side + middle(cols)).reshape(1, -1)


def cell_means(values: torch.Tensor, cell: torch.Tensor, count: int) -> torch.Tensor:
    """(I, n, D) and (1, n) cells -> (I, count, D), the mean of each cell, dtype of the values."""
    share = (cell[0] == torch.arange(count, device=values.device)[:, None]).float()
    with torch.autocast(values.device.type, enabled=False):
        return (share / share.sum(dim=1, keepdim=True) @ values.float()).to(values.dtype)
