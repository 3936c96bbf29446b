"""Where the time of an answer goes, part by part, for one question at a time and for many about one image."""

from typing import Any

from llava.eval.speed.clock import Work, medians
from llava.eval.speed.latency import GREEDY
from llava.eval.speed.throughput import Questions
from llava.model.generation.prefix import ImagePrefix

PARTS = ("encoder", "LLM: prompt and image", "token reduction in the LLM", "LLM: question", "new tokens", "the rest")


def parts_of_one(row: dict[str, Any], measured_tokens: int, new_tokens: int) -> dict[str, float]:
    """Milliseconds of the parts of one question asked by itself, for an answer of `new_tokens`.

    Args:
        row: of the latency table, whose end-to-end time is of an answer of `measured_tokens`.
    """
    known = {
        "encoder": row["encoder_ms"],
        "LLM: prompt and image": row["prefill_ms"] - row["reduction_ms"],
        "token reduction in the LLM": row["reduction_ms"],
        "LLM: question": 0.0,
        "new tokens": row["token_ms"] * (new_tokens - 1),
    }
    accounted = row["encoder_ms"] + row["prefill_ms"] + row["token_ms"] * (measured_tokens - 1)
    return known | {"the rest": max(0.0, row["end_to_end_ms"] - accounted)}


def measure_shared_parts(load: Questions, reduction_ms: float, repeats: int, clock: str) -> dict[str, float]:
    """Milliseconds per question where all questions of a workload about one image are asked together.

    "LLM: question" has the copying of the prefix into the batch in it.

    Args:
        reduction_ms: of one prefill, from the latency table.
    """
    model = load.model
    count = min(load.per_image, len(load.asked))

    def encode(_: object = None) -> ImagePrefix:
        return model.encode_prefixes([load.start], **load.shown([0]))[0]

    def ask(prefix: ImagePrefix, new_tokens: int) -> None:
        model.ask(prefix, load.asked[:count], **GREEDY, max_new_tokens=new_tokens)

    works = {
        "encoder": Work(lambda _: model.encode_views(load.pixels[:1], load.sizes[:1], model.reduction)),
        "prefix": Work(encode),
        "first": Work(lambda prefix: ask(prefix, 1), encode),
        "all": Work(lambda prefix: ask(prefix, load.new_tokens), encode),
    }
    each = {name: 1e3 * time / count for name, time in medians(works, repeats, model.device.type, clock).items()}
    return {
        "encoder": each["encoder"],
        "LLM: prompt and image": max(0.0, each["prefix"] - each["encoder"] - reduction_ms / count),
        "token reduction in the LLM": reduction_ms / count,
        "LLM: question": each["first"],
        "new tokens": max(0.0, each["all"] - each["first"]),
        "the rest": 0.0,
    }
