"""A new token's attention where all rows of a batch ask about one picture: each with a copy of its prefix, or with one.

A trial, not what the model does: one attention over the keys that all rows share, which is a product of matrices
instead of one of vectors, one over each row's own, joined by the logarithms of the sums that softmax divides by.
"""

from collections.abc import Sequence
from typing import Any

import torch

from llava.eval.runs.memory import cache_bytes, token_bytes
from llava.eval.speed.clock import Work, medians
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.tables import methods_for
from llava.eval.speed.throughput import BEFORE, LONGEST, SHORTEST
from llava.reduction import name_of
from llava.reduction.schedule import average_tokens

Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values


def attend(query: torch.Tensor, pair: Pair) -> Pair:
    """(B, H, q, d) over (B, H, t, d) -> what is seen (B, H, q, d), and the logarithm of softmax's sum (B, H, q, 1)."""
    keys, values = pair
    scores = (query @ keys.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    sums = scores.logsumexp(dim=-1, keepdim=True)
    return (scores - sums).exp().to(values.dtype) @ values, sums


def attend_shared(query: torch.Tensor, prefix: Pair, own: Pair) -> torch.Tensor:
    """(B, H, 1, d): attention of each row's newest token over a prefix (1, H, P, d) and the row's own (B, H, s, d)."""
    seen, sums = (part.transpose(0, 2) for part in attend(query.transpose(0, 2), prefix))
    own_seen, own_sums = attend(query, own)
    weight = torch.sigmoid(sums - own_sums)  # of two parts' sums, the first's share
    return (weight * seen + (1 - weight) * own_seen).to(query.dtype)


def copied(prefix: Pair, own: Pair) -> Pair:
    """Keys and values (B, H, P + s, d) of rows that hold the prefix each."""
    keys, values = (torch.cat([p.expand(len(o), -1, -1, -1), o], dim=2) for p, o in zip(prefix, own))
    return keys, values


@torch.inference_mode()
def measure_attention(
    shape: Shape, tokens: int, rows: int, dtype: torch.dtype, repeats: int, clock: str
) -> dict[str, float]:
    """Milliseconds of one layer's attention of a new token in every row, both ways, in turn, on the CPU.

    Args:
        tokens: image tokens.
    """
    draw, size = torch.Generator().manual_seed(0), (shape.heads, shape.width // shape.heads)
    heads, wide = size

    def made(count: int, length: int) -> torch.Tensor:
        return torch.randn(count, heads, length, wide, generator=draw, dtype=torch.float32).to(dtype)

    query, own = made(rows, 1), (made(rows, LONGEST), made(rows, LONGEST))
    prefix = made(1, BEFORE + tokens), made(1, BEFORE + tokens)
    keys, values = copied(prefix, own)
    works = {
        "copied": Work(lambda _: torch.nn.functional.scaled_dot_product_attention(query, keys, values)),
        "shared": Work(lambda _: attend_shared(query, prefix, own)),
    }
    return {f"{name}_ms": 1e3 * time for name, time in medians(works, repeats, "cpu", clock).items()}


def measure_batches(
    shape: Shape, dtype: torch.dtype, budgets: Sequence[int], rows: Sequence[int], repeats: int, clock: str
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
            found.append(row | measure_attention(shape, round(tokens), count, dtype, repeats, clock))
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
