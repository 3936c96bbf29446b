"""The costs that papers print, beside ours: at which text length does our count of operations come to theirs?

A paper says how many operations an answer's prefill takes, but not always how long the prompt was, nor whether a
multiply-add is one or two of them. A reduced and a full model that come to their two numbers at one text length were
counted as we count; the length itself is then what the paper does not say.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from llava.eval.speed.flops import image_flops
from llava.eval.speed.random_model import PRESETS, random_model
from llava.reduction import Reduction, method_class
from llava.reduction.schedule import DecoderShape, average_tokens, prefill_flops

LONGEST = 4096  # text tokens that are tried


@dataclass(frozen=True)
class Published:
    """One line of a paper's efficiency table.

    Attributes:
        preset: the model's, of `PRESETS`.
        method, retain: as on the command line; 0: the method's own default.
        flops: as printed.
        milliseconds: as printed, on a GPU of the A100's class; None: there is none.
        encoder: the vision encoder is counted as well.
        per_multiply_add: operations that a multiply-add counts as.
        text: the text tokens that are counted; None: the paper does not say.
    """

    preset: str
    method: str
    retain: int
    flops: float
    milliseconds: float | None = None
    encoder: bool = True
    per_multiply_add: int = 2
    text: int | None = None


VISIONDROP = "arXiv 2506.22283"
PYRAMIDDROP = "arXiv 2410.17247"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    VISIONDROP: (
        Published("7b", "none", 0, 9.06e12, 237),
        Published("7b", "visiondrop", 64, 2.11e12, 117),
        Published("next-7b", "none", 0, 46.25e12, 593),
        Published("next-7b", "visiondrop", 320, 7.70e12, 216),
    ),
    # Image tokens alone, through the LLM alone, a multiply-add as one: FastV's formula, which others took over.
    PYRAMIDDROP: (
        Published("7b", "none", 0, 3.82e12, encoder=False, per_multiply_add=1, text=0),
        Published("7b", "pyramiddrop", 0, 1.78e12, encoder=False, per_multiply_add=1, text=0),
    ),
}


def counting(line: Published, model: Any) -> tuple[Reduction, Callable[[int], float]]:
    """The line's method, and our count of its operations by the text tokens beside the image."""
    kind = method_class(line.method)
    method = kind.from_budget(line.retain, model.geometry) if line.retain else kind()
    shape = DecoderShape.of(model.config)
    image = image_flops(model, method) if line.encoder else 0

    def counted(text: int) -> float:
        return (prefill_flops(shape, method, model.geometry, text) + image) * line.per_multiply_add / 2

    return method, counted


def text_where(counted: Callable[[int], float], flops: float) -> int | None:
    """The number of text tokens at which a count that grows with them is nearest to `flops`; None: it never is."""
    if not counted(0) <= flops <= counted(LONGEST):
        return None
    below, above = 0, LONGEST
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if counted(middle) <= flops else (below, middle)
    return min((below, above), key=lambda text: abs(counted(text) - flops))


def beside(lines: Iterable[Published]) -> list[dict[str, Any]]:
    """A row for each line of a paper: where its own count meets ours, and ours at the length that suits the model best.

    That length is the mean of those at which the model's lines meet, or the one that the paper says.
    """
    lines = list(lines)
    models = {line.preset: random_model(PRESETS[line.preset], "meta", torch.float16) for line in lines}
    counts = [counting(line, models[line.preset]) for line in lines]
    met = [text_where(counted, line.flops) for line, (_, counted) in zip(lines, counts)]
    rows = []
    for line, (method, counted), own in zip(lines, counts, met):
        others = [text for other, text in zip(lines, met) if other.preset == line.preset and text is not None]
        common = line.text if line.text is not None else round(sum(others) / len(others)) if others else None
        rows.append(
            {
                "preset": line.preset,
                "method": line.method,
                "tokens": average_tokens(method, models[line.preset].geometry),
                "published_flops": line.flops,
                "published_ms": line.milliseconds,
                "meets_at": own if line.text is None else None,
                "text": common,
                "counted_flops": counted(common) if common is not None else None,
            }
        )
    return rows


def beside_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; ratios are to the first row of the same model."""
    columns = "model | method | tokens | published | fewer | ms | faster | ours is that at | ours, text tokens"
    columns += " | counted | of published | fewer"
    lines = [f"| {columns} |", "|---|---|" + "--:|" * 10]
    for row in rows:
        first = next(other for other in rows if other["preset"] == row["preset"])
        ms, counted, meets = row["published_ms"], row["counted_flops"], row["meets_at"]
        cells = [row["preset"], row["method"], f"{row['tokens']:.0f}", f"{row['published_flops'] / 1e12:.2f} TFLOPs"]
        cells.append(f"{first['published_flops'] / row['published_flops']:.1f}x")
        cells += [f"{ms:.0f}", f"{first['published_ms'] / ms:.1f}x"] if ms else ["", ""]
        cells += [f"{meets} text tokens" if meets is not None else "", "" if row["text"] is None else str(row["text"])]
        if counted is None:
            cells += ["", "", ""]
        else:
            share, fewer = counted / row["published_flops"], first["counted_flops"] / counted
            cells += [f"{counted / 1e12:.2f} TFLOPs", f"{100 * share:.1f} %", f"{fewer:.1f}x"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
