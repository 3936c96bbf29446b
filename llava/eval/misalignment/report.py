"""Misalignment as a table in Markdown and as a picture."""

from typing import Any

import torch

from llava.eval.curves.report import header, row
from llava.eval.misalignment.probe import Rows
from llava.eval.pictures.figure import new_figure, save

SEEN_BY = {"text": "text, mean", "last": "last prompt token", "visual": "image tokens"}


def as_table(layers: list[dict[str, Any]]) -> list[str]:
    """A row for every layer."""
    places = [f"last quarter gets of {name}" for name in SEEN_BY.values()]
    lines = header(["layer", "text to image", *places, "overlap", "by chance"])
    for layer in layers:
        shares = [f"{100 * layer['last_quarter'][name]:.1f} %" for name in SEEN_BY]
        cells = [f"{100 * layer[key]:.1f} %" for key in ("text_to_image_mass", "overlap", "chance")]
        lines.append(row([str(layer["layer"]), cells[0], *shares, *cells[1:]]))
    return lines


def draw(layers: list[dict[str, Any]], maps: list[Rows], side: int | None, path: str, title: str) -> None:
    """Shares by place and overlap of all layers above, the first picture's maps of some layers below; a PNG.

    Args:
        maps: of some layers, of which the first picture is shown.
        side: patches along a side of that picture's map; None: its tokens make no square, and no map is drawn.
    """
    shown = maps if side is not None else []
    columns = max(4, len(shown))
    figure = new_figure(2.3 * columns, 2.6 + 4.4 * bool(shown))
    grid: Any = figure.add_gridspec(3 if shown else 1, columns)
    numbers = [layer["layer"] for layer in layers]
    for place, (name, said) in enumerate(SEEN_BY.items()):
        axes = figure.add_subplot(grid[0, place])
        shares = torch.tensor([layer["share_by_place"][name] for layer in layers])
        axes.imshow(shares.T.numpy(), aspect="auto", cmap="viridis", extent=(numbers[0], numbers[-1] + 1, 1, 0))
        axes.set_title(said, fontsize="small")
        axes.set(xlabel="layer", ylabel="place among image tokens" if place == 0 else None)
    axes = figure.add_subplot(grid[0, 3])
    axes.plot(numbers, [100 * layer["overlap"] for layer in layers], color="C0", label="overlap")
    axes.plot(numbers, [100 * layer["chance"] for layer in layers], color="black", linestyle=":", label="chance")
    axes.set_title("top tokens in common, %", fontsize="small")
    axes.set(xlabel="layer", ylim=(0, 100))
    axes.legend(fontsize="x-small")
    for column, rows in enumerate(shown):
        for line, name in enumerate(("last", "visual"), start=1):
            axes = figure.add_subplot(grid[line, column])
            axes.imshow(getattr(rows, name)[0, : rows.lengths[0]].view(side, side).numpy(), cmap="magma")
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"layer {rows.layer}, {SEEN_BY[name]}", fontsize="x-small")
    figure.suptitle(title, fontsize="medium")
    save(figure, path)
