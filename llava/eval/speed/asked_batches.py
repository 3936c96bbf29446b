"""`ask` of a batch about one picture: a model whose rows copy its prefix beside one whose rows read it in place."""

from collections.abc import Sequence
from typing import Any

import torch

from llava.eval.speed.clock import Work, medians, peak_bytes
from llava.eval.speed.latency import GREEDY
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.tables import methods_for
from llava.eval.speed.throughput import Questions
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.reduction import Reduction, name_of
from llava.reduction.schedule import average_tokens

KERNELS = {"copied": "sdpa", "shared": SHARED_PREFIX}
NEW_TOKENS = 4


@torch.inference_mode()
def measure_asking(
    shape: Shape, device: str, dtype: torch.dtype, budgets: Sequence[int], rows: Sequence[int], repeats: int, clock: str
) -> list[dict[str, Any]]:
    """For each method and number of rows seconds and peak bytes of prefill and answers, both ways, in turn.

    The picture is encoded before. Peaks are of the whole process, both models' weights included; on a GPU they are of
    what torch has allocated there.
    """
    models = {way: random_model(shape, device, dtype, kernel) for way, kernel in KERNELS.items()}
    questions = Questions(models["copied"], max(rows), max(rows), NEW_TOKENS)
    found = []
    for method in methods_for(models["copied"], list(budgets)):
        for count in rows:
            works = {way: _asking(model, method, questions, count) for way, model in models.items()}
            row = {"method": name_of(method), "tokens": average_tokens(method, models["copied"].geometry)}
            row |= {f"{way}_s": time for way, time in medians(works, repeats, device, clock).items()}
            row |= {f"{way}_peak": peak_bytes(lambda work=work: work.run(None), device) for way, work in works.items()}
            found.append({"rows": count} | row)
    return found


def _asking(model: Any, method: Reduction, questions: Questions, count: int) -> Work:
    prefix = model.encode_image(torch.tensor(questions.start), **questions.shown([0]), reduction=method)
    asked = questions.asked[:count]
    return Work(lambda _: model.ask(prefix, asked, **GREEDY, max_new_tokens=NEW_TOKENS))


def asking_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| method | tokens | rows | copied s | shared s | faster | copied peak | shared peak |"]
    lines.append("|---|" + "--:|" * 7)
    for row in rows:
        cells = [row["method"], f"{row['tokens']:.0f}", str(row["rows"]), f"{row['copied_s']:.2f}"]
        cells += [f"{row['shared_s']:.2f}", f"{row['copied_s'] / row['shared_s']:.2f}x"]
        peaks = [row[f"{way}_peak"] for way in KERNELS]
        cells += ["unknown" if peak is None else f"{peak / 2**30:.2f} GiB" for peak in peaks]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
