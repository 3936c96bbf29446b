"""What a runner tells a person: the schedule it uses, what that saves, and some answers."""

import sys
from typing import Any

from llava.constants import IMAGE_TOKEN_INDEX
from llava.errors import shown
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.questions import render
from llava.eval.runs.settings import path_of
from llava.mm_utils import tokenizer_image_token
from llava.reduction import Geometry, Reduction, name_of
from llava.reduction.methods.none import Unreduced
from llava.reduction.schedule import DecoderShape, average_said, average_tokens, describe, prefill_flops

SHOWN = 3  # skipped questions that are named


def schedule_report(method: Reduction, model: Any, data: PreparedQuestions, geometry: Geometry | None = None) -> str:
    """The method's schedule on this model, its real average, and the LLM's FLOPs against no reduction.

    The text counted is that of the first question's prompt. For LLaVA-NeXT the counts are those of an image of the
    most views; what a run was computed with is counted as it goes (`tally`).

    Args:
        geometry: of videos, where these are asked about; None: the model's, of its pictures.
    """
    geometry = geometry or model.geometry
    what = f" on {geometry.frames} frames" if geometry.frames else ""
    prompt = render(data.questions[0].message, False, data.conv_mode, False)
    ids = tokenizer_image_token(prompt, data.tokenizer)
    text_tokens = sum(token != IMAGE_TOKEN_INDEX for token in ids)
    shape, whole = DecoderShape.of(model.config), geometry.most_tokens
    with_method = prefill_flops(shape, method, geometry, text_tokens)
    without = prefill_flops(shape, Unreduced(), geometry, text_tokens)
    average, said = average_tokens(method, geometry), average_said(method, geometry)
    several = geometry.views > 1 and not geometry.frames
    largest = f"of a picture of {geometry.views} views, the most: " if several else ""
    return (
        f"method {name_of(method)}{what}: {describe(method, geometry)}\n"
        f"{largest}average {said} image tokens per LLM layer, {100 * average / whole:.1f} % of {whole}; "
        f"LLM prefill with {text_tokens} text tokens {in_flops(with_method)} instead of {in_flops(without)} "
        f"({without / with_method:.1f}x fewer)"
    )


def in_flops(count: float) -> str:
    """A number of floating point operations for reading: `1.28 TFLOPs`."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}FLOPs"
    return f"{count:.0f} FLOPs"


def show_answers(records: list[dict[str, Any]], count: int) -> None:
    """Print the first `count` questions of an answers file with their answers."""
    for record in records[:count]:
        print(f"\nQ: {record['prompt']}\nA: {record['text']}")
    if records[:count]:
        print()


def tell_what_was_skipped(path: str, skipped: list[dict[str, Any]]) -> None:
    """Name on stderr the questions that were not asked, and where all of them stand."""
    if not skipped:
        return
    named = "; ".join(f"{shown(one['question_id'])}: {one['why']}" for one in skipped[:SHOWN])
    more = f"; and {len(skipped) - SHOWN} more, see {path_of(path)}" if len(skipped) > SHOWN else ""
    print(
        f"WARNING: {len(skipped)} questions were skipped, because their pictures cannot be read: {named}{more}. They "
        f"count as answered wrongly; once a picture is mended, the same command asks again",
        file=sys.stderr,
    )
