"""The pieces that the diagram of the method is put together from. Places are (x, y) in the drawing's own units."""

from collections.abc import Iterable
from typing import Any

import numpy as np

DOMINANT, CONTEXTUAL, TEXT, DROPPED = "#2a78b5", "#f0962e", "#9aa0a6", "#d9dde1"
INSIDE, EDGE = "#f5f7fa", "#44505c"

Place = tuple[float, float]


def rectangle(axes: Any, corner: Place, size: Place, colour: str) -> None:
    """A filled rectangle; `corner` is the lower left one."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(corner, *size, facecolor=colour, linewidth=0))


def box(axes: Any, corner: Place, size: Place, text: str, rotation: float = 0) -> None:
    """A box with rounded corners and text in the middle."""
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=1", facecolor=INSIDE, edgecolor=EDGE)
    axes.add_patch(shape)
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    axes.text(*middle, text, ha="center", va="center", fontsize=10, rotation=rotation)


def heading(axes: Any, place: Place, text: str, size: float) -> None:
    """Bold text below and to the right of a place."""
    axes.text(*place, text, fontsize=size, fontweight="bold", va="top")


def note(axes: Any, place: Place, text: str, align: str = "left", size: float = 9) -> None:
    """Text below a place."""
    axes.text(*place, text, fontsize=size, va="top", ha=align)


def arrow(axes: Any, start: Place, end: Place, colour: str = EDGE, bend: float = 0) -> None:
    """An arrow, bent to the left of its way by a part `bend` of its length."""
    shape = {"arrowstyle": "->", "color": colour, "linewidth": 1.3, "connectionstyle": f"arc3,rad={-bend}"}
    axes.annotate("", end, start, arrowprops=shape | {"shrinkA": 0, "shrinkB": 0})


def patches(axes: Any, corner: Place, size: float, side: int) -> None:
    """A made-up picture, a ball before a hill, cut into side x side patches."""
    for row in range(side):
        for column in range(side):
            x, y = (column + 0.5) / side, (row + 0.5) / side
            ball = (x - 0.62) ** 2 + (y - 0.6) ** 2 < 0.05
            colour = "#d9534f" if ball else "#7fb069" if y < 0.28 + 0.2 * x else "#bcd8ec"
            cell = size / side
            rectangle(axes, (corner[0] + column * cell, corner[1] + row * cell), (0.92 * cell, 0.92 * cell), colour)


def strip(axes: Any, corner: Place, width: float, counts: tuple[int, int], most: int) -> None:
    """The tokens of a run of layers: text, dominant, contextual, text; `most` image tokens would fill the width."""
    text = 0.12 * width
    cell = (width - 2 * text) / most
    lengths = (text, counts[0] * cell, counts[1] * cell, text)
    left = corner[0]
    for length, colour in zip(lengths, (TEXT, DOMINANT, CONTEXTUAL, TEXT)):
        rectangle(axes, (left, corner[1]), (length - 0.25, 3), colour)
        left += length


def attention(axes: Any, corner: Place, size: float, tokens: int = 8) -> None:
    """A causal attention matrix, with the means of its columns below."""
    source = np.random.default_rng(3)
    rows = np.tril(source.random((tokens, tokens)) ** 2 + 0.05)
    rows /= rows.sum(axis=1, keepdims=True)
    cell = size / (tokens + 1.5)
    left, top = corner[0], corner[1] + size
    for row in range(tokens):
        for column in range(row + 1):
            _shade(axes, (left + column * cell, top - (row + 1) * cell), cell, rows[row, column])
    means = rows.mean(axis=0) / rows.mean(axis=0).max()
    for column in range(tokens):
        _shade(axes, (left + column * cell, corner[1]), cell, means[column])


def _shade(axes: Any, corner: Place, cell: float, amount: float) -> None:
    grey = 1 - 0.85 * min(1.0, float(amount))
    blue = tuple(grey + (1 - grey) * part for part in (0.0, 0.25, 0.55))
    rectangle(axes, corner, (0.9 * cell, 0.9 * cell), blue)  # type: ignore[arg-type]


def key(axes: Any, place: Place, meanings: Iterable[tuple[str, str]]) -> None:
    """What the colours mean, in one line."""
    left = place[0]
    for colour, meaning in meanings:
        rectangle(axes, (left, place[1] - 1.6), (1.6, 1.6), colour)
        axes.text(left + 2.2, place[1] - 0.8, meaning, fontsize=9, va="center")
        left += 4.5 + 0.85 * len(meaning)
