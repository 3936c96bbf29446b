"""Draw what each method kept: a row per method, a column per stage, above the scores and below what is left."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from llava.eval.pictures.canvas import Canvas, Rect
from llava.eval.pictures.figure import new_figure, save
from llava.eval.pictures.kept_tokens import Stage, Token

CELL = 2.1  # inches a cell is high
TEXT_WIDTH = 1.25  # cells that a method's name and answer take
DROPPED = (1.0, 1.0, 1.0, 0.86)  # white, nearly opaque
# A contextual token's colour over the patches that were merged into it: pale, so that what is kept stands out.
TINT, PALE = 0.75, 0.5
LETTERS = 15  # of the legend to an inch
LEGEND = (
    "Upper line: the scores of the tokens that the stage chose from, by rank (yellow first, violet last; grey: no "
    "token there).\nLower line: patches in their own colours are kept (framed in black beside merged ones); pale ones "
    "of one tint\nare merged into the contextual token whose patch is framed in it; white ones are dropped."
)


@dataclass(frozen=True)
class MethodRow:
    """One method's row: its name, lines about it, and its stages."""

    name: str
    about: str
    stages: list[Stage]


def draw(picture: Image.Image, canvas: Canvas, side: int, rows: list[MethodRow], title: str, path: str) -> None:
    """Write the PNG; arguments as `figure_of`."""
    save(figure_of(picture, canvas, side, rows, title), path, dots=120)


def figure_of(picture: Image.Image, canvas: Canvas, side: int, rows: list[MethodRow], title: str) -> Any:
    """The drawing, a matplotlib figure.

    Args:
        side: patches along one side of a view.
        title: goes above everything, as it is: what people and models wrote is no mathematics.
    """
    frame = canvas.frame
    width = CELL * (frame.right - frame.left) / (frame.bottom - frame.top)
    columns = max(len(row.stages) for row in rows)
    figure = new_figure(TEXT_WIDTH * CELL + columns * (width + 0.1), len(rows) * 2 * (CELL + 0.3) + 1.0)
    axes = figure.subplots(
        2 * len(rows), columns + 1, squeeze=False, gridspec_kw={"width_ratios": [TEXT_WIDTH * CELL] + columns * [width]}
    )
    for cell in axes.flat:
        cell.axis("off")
    for number, row in enumerate(rows):
        above, below = axes[2 * number], axes[2 * number + 1]
        above[0].text(0, 1, row.name, fontsize=13, fontweight="bold", va="top", transform=above[0].transAxes)
        above[0].text(0, 0.82, row.about, fontsize=9, va="top", parse_math=False, transform=above[0].transAxes)
        _backdrop(below[0], picture, canvas)
        for stage, upper, lower in zip(row.stages, above[1:], below[1:]):
            _backdrop(upper, picture.convert("L").convert("RGB"), canvas)
            _scores(upper, stage, canvas, side)
            _backdrop(lower, picture, canvas)
            _kept(lower, stage, canvas, side)
            upper.set_title(_title(stage), fontsize=9)
    figure.suptitle(title, fontsize=12, parse_math=False)
    figure.supxlabel(legend(figure.get_figwidth()), fontsize=8)
    return figure


def legend(inches: float) -> str:
    """What the colours mean, in lines that a figure of this width holds."""
    letters = int(inches * LETTERS)
    return LEGEND if max(map(len, LEGEND.split("\n"))) <= letters else textwrap.fill(LEGEND, letters)


def _title(stage: Stage) -> str:
    merged = sum(bool(token.folded) for token in stage.tokens)
    where = "vision encoder" if stage.layer == 0 else f"after LLM layer {stage.layer}"
    left = f"{stage.entering} \N{RIGHTWARDS ARROW} {len(stage.tokens)} tokens"
    return f"{where}\n{left}, {merged} merged" if merged else f"{where}\n{left}"


def _backdrop(axes: Any, picture: Image.Image, canvas: Canvas) -> None:
    frame = canvas.frame
    axes.set(xlim=(frame.left, frame.right), ylim=(frame.bottom, frame.top), aspect="equal")
    for place in canvas.pictures:
        axes.imshow(picture, extent=_extent(place), interpolation="antialiased")
    for place in canvas.views:
        _frame(axes, place, "0.7", 0.6)
    axes.set(xlim=(frame.left, frame.right), ylim=(frame.bottom, frame.top))


def _scores(axes: Any, stage: Stage, canvas: Canvas, side: int) -> None:
    if stage.scores is None:
        axes.text(0.5, 0.5, "no choice here", transform=axes.transAxes, ha="center", va="center", fontsize=9)
        return
    for view, place in zip(ranks(stage.scores), canvas.views):
        axes.imshow(
            view.reshape(side, side), extent=_extent(place), cmap="viridis", vmin=0, vmax=1, alpha=0.85,
            interpolation="nearest",
        )  # fmt: skip


def _kept(axes: Any, stage: Stage, canvas: Canvas, side: int) -> None:
    groups = [token for token in stage.tokens if token.folded]
    colours = _colours(len(groups))
    for view, overlay in enumerate(overlays(stage.tokens, colours, len(canvas.views), side * side)):
        axes.imshow(overlay.reshape(side, side, 4), extent=_extent(canvas.views[view]), interpolation="nearest")
    single = [token for token in stage.tokens if not token.folded]
    marked = list(zip(groups, colours)) + ([(token, "black") for token in single] if groups else [])
    for token, colour in marked:
        if token.patch is not None:
            _frame(
                axes,
                canvas.views[token.view].cell(*divmod(token.patch, side), side),
                colour,
                2.2 if token.folded else 0.9,
            )


def ranks(scores: np.ndarray) -> np.ndarray:
    """Scores, NaN where there are none -> ranks in 0..1, the highest score 1: all that a choice depends on."""
    present = ~np.isnan(scores)
    ranked = np.full_like(scores, np.nan)
    ranked[present] = scores[present].argsort().argsort() / max(1, present.sum() - 1)
    return ranked


def overlays(tokens: tuple[Token, ...], colours: list[tuple[float, ...]], views: int, patches: int) -> np.ndarray:
    """(views, patches, 4) float32 RGBA: clear where a patch is kept, tinted where it was merged, white elsewhere.

    Args:
        colours: red, green, blue of each token that something was merged into, in their order.
    """
    painted = np.tile(np.array(DROPPED, dtype=np.float32), (views, patches, 1))
    left = iter(colours)
    for token in tokens:
        if token.folded:
            view, patch = zip(*token.places)
            painted[view, patch] = (*(PALE + (1 - PALE) * part for part in next(left)[:3]), TINT)
        elif token.patch is not None:
            painted[token.view, token.patch] = 0.0
    return painted


def _colours(count: int) -> list[tuple[float, ...]]:
    """Colours that are easily told apart, as many as are needed."""
    import matplotlib

    table = matplotlib.colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "hsv"]
    return [tuple(table(number if count <= 20 else number / count)) for number in range(count)]


def _frame(axes: Any, place: Rect, colour: Any, width: float) -> None:
    from matplotlib.patches import Rectangle

    size = (place.right - place.left, place.bottom - place.top)
    axes.add_patch(Rectangle((place.left, place.top), *size, fill=False, edgecolor=colour, linewidth=width))


def _extent(place: Rect) -> tuple[float, float, float, float]:
    return place.left, place.right, place.bottom, place.top
