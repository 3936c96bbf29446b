"""Whether batches about one picture are worth putting together: a model's rows can read its prefix where it lies."""

from collections.abc import Sequence
from typing import Any

from llava.eval.runs.schedules import Schedule
from llava.model.generation.greedy import greedy_settings
from llava.model.generation.one_prefix import one_for_all
from llava.model.generation.prefix import ImagePrefix


def reads_in_place(
    model: Any, schedules: Sequence[Schedule], generation: dict[str, Any], text_tokens: int, compiled: bool
) -> bool:
    """Whether `ask` lets all rows of a batch about one picture read one prefix, under each schedule of a run.

    Args:
        generation: arguments of `ask`.
        text_tokens: of the longest question.
        compiled: decoding is compiled, over buffers that hold whole rows.
    """
    settings = greedy_settings(model.generation_config, generation)
    if settings is None or compiled:
        return False
    return all(_shared(model, one, text_tokens, settings.max_new_tokens) for one in schedules)


def _shared(model: Any, schedule: Schedule, text_tokens: int, new_tokens: int) -> bool:
    method = schedule.method
    if method.reads_question or method.recomputes:  # no keys and values are shared then, or none are kept
        return False
    lengths = tuple(text_tokens + tokens for tokens in method.tokens_per_stage(schedule.geometry))
    return one_for_all(model, [ImagePrefix((), method, (), lengths)], text_tokens + new_tokens) is not None
