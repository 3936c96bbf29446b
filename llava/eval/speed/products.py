"""How fast a decoder layer's matrix products are by the number of their rows, and what bounds them.

A few tokens take the same weights from memory as many do. So a product of few rows is slower per operation, by what
reading takes where it is not hidden behind computing: that is the distance between a counted and a measured speed-up.
"""

from collections.abc import Callable
from typing import Any

import torch

from llava.eval.speed.clock import Work, medians
from llava.eval.speed.random_model import Shape

Product = Callable[[torch.Tensor], torch.Tensor]
MOST_BYTES = 2**28  # of weights; enough that none of them is still in a cache when its turn comes again
FORMS = ("one by one", "joined", "packed", "joined and packed")


def matrices(shape: Shape, joined: bool) -> list[tuple[int, int]]:
    """(n, k) of a layer's matrices: q, k, v, o, gate, up, down; or q, k, v as one, and gate and up."""
    width, inner = shape.width, shape.intermediate
    if joined:
        return [(3 * width, width), (width, width), (2 * inner, width), (width, inner)]
    return [(width, width)] * 4 + [(inner, width)] * 2 + [(width, inner)]


def layer_weights(shape: Shape) -> int:
    """Weights of one decoder layer's matrices."""
    return sum(n * k for n, k in matrices(shape, joined=False))


def packed(weight: torch.Tensor, rows: int) -> Product:
    """A product whose weight oneDNN has laid out for so many rows, as inductor's freezing does."""
    laid = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid, None, "none", [], "")


def plain(weight: torch.Tensor, _: int) -> Product:
    """A product as a layer makes it."""
    return lambda x: torch.nn.functional.linear(x, weight)


def products_of(shape: Shape, form: str, rows: int, dtype: torch.dtype, layers: int) -> Callable[[Any], None]:
    """All products of so many layers with one input for each width."""
    make = packed if "packed" in form else plain
    inputs = {width: torch.randn(rows, width, dtype=dtype) for width in (shape.width, shape.intermediate)}
    made = [
        (inputs[k], make(torch.full((n, k), 0.01, dtype=dtype), rows))
        for _ in range(layers)
        for n, k in matrices(shape, "joined" in form)
    ]

    def run(_: Any) -> None:
        for x, product in made:
            product(x)

    return run


@torch.inference_mode()
def measure_products(
    shape: Shape, rows: list[int], dtype: torch.dtype, repeats: int, clock: str
) -> list[dict[str, Any]]:
    """For each number of rows the operations per second in every form, and what reading leaves of the most.

    Weights are read at the speed of a single row's products, and computed with at that of the most rows; where neither
    hides the other, times add up. Forms are timed in turn, one number of rows after the other.
    """
    layers = max(1, min(shape.layers, MOST_BYTES // (layer_weights(shape) * dtype.itemsize)))
    weights = layers * layer_weights(shape)
    forms = FORMS if torch.backends.mkldnn.is_available() else FORMS[:2]
    found: list[dict[str, Any]] = []
    for count in sorted({1, *rows}):
        works = {form: Work(products_of(shape, form, count, dtype, layers)) for form in forms}
        seconds = medians(works, repeats, "cpu", clock)
        found.append(
            {"rows": count, "seconds": seconds, **{form: 2 * count * weights / seconds[form] for form in forms}}
        )
    reading, most = min(found[0]["seconds"].values()), max(found[-1][form] for form in forms)
    for row in found:
        row["left"] = 2 * row["rows"] * weights / (reading + 2 * row["rows"] * weights / most)
        row["of_most"] = max(row[form] for form in forms) / most
    return found


def products_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, GFLOP/s; the first, a single row, reads at GB/s that follow from it."""
    forms = [form for form in FORMS if form in rows[0]]
    lines = [f"| rows | {' | '.join(forms)} | best, of the most | where reading is not hidden |"]
    lines.append(f"|--:|{'--:|' * (len(forms) + 2)}")
    for row in rows:
        cells = [str(row["rows"]), *(f"{row[form] / 1e9:.0f}" for form in forms), f"{100 * row['of_most']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} | {row['left'] / 1e9:.0f} |")
    return "\n".join(lines)
