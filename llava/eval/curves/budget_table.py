"""A method at a budget as a row of numbers, by the arithmetic of its schedule; no model."""

from typing import Any

from llava.errors import InputError
from llava.reduction import Geometry, Reduction, method_class, resolve
from llava.reduction.positions import written_settings
from llava.reduction.schedule import DecoderShape, average_tokens, layers_per_stage, prefill_flops

GIGA, MEBI = 1e9, 2**20


def row_of(
    name: str, budget: int | str, geometry: Geometry, shape: DecoderShape, text_tokens: int, bytes_each: int
) -> dict[str, Any]:
    """What the method makes of a budget.

    Args:
        budget: average tokens per layer, or a preset such as `paper-64`; any where the method has no settings.
        text_tokens: of a prompt, besides the image.
        bytes_each: of a number in the KV cache.

    Returns:
        `method`, `budget`, and either `impossible`, the reason, or `settings`, `tokens` (per layer, on average),
        `stages` (tokens in each), `layers` (of each), `flops` (of the LLM's layers over the prompt), `kv_bytes` (of the
        prompt) and `shared`.
    """
    row: dict[str, Any] = {"method": name, "budget": budget}
    key = "retain" if isinstance(budget, int) else "preset"
    try:
        method = resolve(name if name == "none" else {"method": name, key: budget}, geometry)
    except InputError as error:
        return row | {"impossible": str(error)}
    stages, layers = method.tokens_per_stage(geometry), layers_per_stage(method, geometry.layers)
    return row | {
        "settings": written_settings(method),
        "tokens": average_tokens(method, geometry),
        "stages": stages,
        "layers": layers,
        "flops": prefill_flops(shape, method, geometry, text_tokens),
        "kv_bytes": kv_bytes(shape, stages, layers, text_tokens, bytes_each),
        "shared": shared(method),
    }


def kv_bytes(shape: DecoderShape, stages: list[int], layers: list[int], text_tokens: int, bytes_each: int) -> int:
    """Keys and values of a prompt in all layers, each of which caches what entered it."""
    cached = sum(run * (tokens + text_tokens) for run, tokens in zip(layers, stages))
    return 2 * shape.key_value_width * bytes_each * cached


def shared(method: Reduction) -> str:
    """What questions about one picture can share: its whole work, no more than its tokens, or nothing."""
    if method.question_at_encoder:
        return "nothing"
    return "image tokens" if method.reads_question else "all"


def as_table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown, each reason why there is none as a line below."""
    titles = ["method", "budget", "settings", "tokens per layer", "in each stage", "LLM GFLOPs", "KV MiB", "shared"]
    lines = [_line(titles), _line(["---", "--:", "---", "--:", "---", "--:", "--:", "---"])]
    for row in rows:
        lines.append(_line([row["method"], str(row["budget"]), *_cells(row)]))
    reasons = [f"{row['method']} at {row['budget']}: {row['impossible']}" for row in rows if "impossible" in row]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def _cells(row: dict[str, Any]) -> list[str]:
    if "impossible" in row:
        unpublished = isinstance(row["budget"], str) and int(row["budget"].split("-")[1]) not in _published(row)
        return ["not published" if unpublished else "impossible", *["-"] * 5]
    stages = ", ".join(f"{tokens} x {run}" for tokens, run in zip(row["stages"], row["layers"]))
    settings = ", ".join(f"{name} {_short(value)}" for name, value in row["settings"].items()) or "-"
    costs = [f"{row['flops'] / GIGA:.1f}", f"{row['kv_bytes'] / MEBI:.1f}"]
    return [settings, f"{row['tokens']:.1f}", stages, *costs, row["shared"]]


def _published(row: dict[str, Any]) -> Any:
    return method_class(row["method"]).paper


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "").lower()


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
