"""A new token's attention where all rows of a batch ask about one picture: each with a copy of its prefix, or with one.

The attention is what a model loaded with the kernel `shared_prefix` computes (`llava.model.language_model`).
"""

from collections.abc import Sequence
from typing import Any

import torch

from llava.eval.runs.memory import cache_bytes, token_bytes
from llava.eval.speed.clock import Work, medians
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.tables import methods_for
from llava.eval.speed.throughput import BEFORE, LONGEST, SHORTEST
from llava.model.language_model.shared_attention import Pair, attend_both
from llava.reduction import name_of
from llava.reduction.schedule import average_tokens


def copied(prefix: Pair, own: Pair) -> Pair:
    """Keys and values (B, H, P + s, d) of rows that hold a prefix (H, P, d) each and their own (B, H, s, d)."""
    keys, values = (torch.cat([p.expand(len(o), -1, -1, -1), o], dim=2) for p, o in zip(prefix, own))
    return keys, values


@torch.inference_mode()
def measure_attention(
    shape: Shape, tokens: int, rows: int, device: str, dtype: torch.dtype, repeats: int, clock: str
) -> dict[str, float]:
    """Milliseconds of one layer's attention of a new token in every row, both ways, in turn.

    Args:
        tokens: image tokens.
    """
    draw, size = torch.Generator().manual_seed(0), (shape.heads, shape.width // shape.heads)
    heads, wide = size

    def made(length: int, *count: int) -> torch.Tensor:
        return torch.randn(*count, heads, length, wide, generator=draw, dtype=torch.float32).to(device, dtype)

    query, own = made(1, rows), (made(LONGEST, rows), made(LONGEST, rows))
    prefix = made(BEFORE + tokens), made(BEFORE + tokens)
    keys, values = copied(prefix, own)
    works = {
        "copied": Work(lambda _: torch.nn.functional.scaled_dot_product_attention(query, keys, values)),
        "shared": Work(lambda _: attend_both(query * wide**-0.5, prefix, own, None)),
    }
    return {f"{name}_ms": 1e3 * time for name, time in medians(works, repeats, device, clock).items()}


def measure_batches(
    shape: Shape, device: str, dtype: torch.dtype, budgets: Sequence[int], rows: Sequence[int], repeats: int, clock: str
) -> list[dict[str, Any]]:
    """For each method and number of rows the whole model's bytes by count, and one layer's attention by the clock."""
    model = random_model(shape, "meta", dtype)
    own = token_bytes(model) * shape.layers * ((SHORTEST + LONGEST) // 2 + 4)
    found = []
    for method in methods_for(model, list(budgets)):
        prefix, tokens = cache_bytes(model, method, model.geometry, BEFORE), average_tokens(method, model.geometry)
        for count in rows:
            row = {"method": name_of(method), "tokens": tokens, "rows": count}
            row |= {"copied_bytes": count * (prefix + own), "shared_bytes": prefix + count * own}
            found.append(row | measure_attention(shape, round(tokens), count, device, dtype, repeats, clock))
    return found


def batches_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    columns = "method | tokens | rows | a prefix each | one for all | fewer bytes | attention, copied ms | shared ms"
    lines = [f"| {columns} | faster |", "|---|" + "--:|" * 8]
    for row in rows:
        copied, shared = row["copied_bytes"], row["shared_bytes"]
        cells = [row["method"], f"{row['tokens']:.0f}", str(row["rows"]), f"{copied / 2**30:.2f} GiB"]
        cells += [f"{shared / 2**30:.2f} GiB", f"{copied / shared:.1f}x", f"{row['copied_ms']:.1f}"]
        lines.append(f"| {' | '.join(cells)} | {row['shared_ms']:.1f} | {row['copied_ms'] / row['shared_ms']:.1f}x |")
    return "\n".join(lines)
