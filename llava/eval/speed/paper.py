"""What sharing and reducing would save on a model that is not here: counted, nothing is run."""

from collections.abc import Sequence
from typing import Any

import torch

from llava.eval.runs.memory import cache_bytes
from llava.eval.runs.reporting import in_flops
from llava.eval.speed.flops import count
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.throughput import BEFORE, LONGEST, SHORTEST, WORKLOADS
from llava.reduction import Reduction, method_class, name_of
from llava.reduction.schedule import average_tokens


def on_paper(shape: Shape, dtype: torch.dtype, budgets: Sequence[int], new_tokens: int) -> list[dict[str, Any]]:
    """A row for each method: operations per question by questions per image, and bytes of an image's prefix."""
    model = random_model(shape, "meta", dtype)
    methods: list[Reduction] = [method_class("none")()]
    methods += [method_class("visiondrop").from_budget(retain, model.geometry) for retain in budgets]
    rows = []
    for method in methods:
        counted = count(model, method, BEFORE, (SHORTEST + LONGEST) // 2, new_tokens)
        rows.append(
            {
                "method": name_of(method),
                "tokens": average_tokens(method, model.geometry),
                "prefix_bytes": cache_bytes(model, method, model.geometry, BEFORE),
                "image_flops": counted.image,
                "prefix_flops": counted.prefix,
                "question_flops": counted.question + counted.decoding,
                "flops_per_question": {name: counted.per_question(each) for name, each in WORKLOADS.items()},
            }
        )
    return rows


def paper_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    names = list(WORKLOADS)
    columns = ["method", "tokens", "prefix of an image", "encoder", "LLM, prefix", "question and answer"]
    columns += [f"per question, {WORKLOADS[name]} per image" for name in reversed(names)]
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    for row in rows:
        cells = [row["method"], f"{row['tokens']:.0f}", f"{row['prefix_bytes'] / 2**20:.0f} MiB"]
        cells += [in_flops(row[name]) for name in ("image_flops", "prefix_flops", "question_flops")]
        cells += [in_flops(row["flops_per_question"][name]) for name in reversed(names)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
