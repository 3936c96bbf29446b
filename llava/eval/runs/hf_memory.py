"""How many questions to a model of transformers' own fit into memory at once, by the sizes of some of the pictures."""

from dataclasses import dataclass, replace
from typing import Any

from llava.errors import InputError
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.memory import rows_of, token_bytes
from llava.hf.families import family_of
from llava.reduction.schedule import layers_per_stage

LOOKED_AT = 4  # pictures


@dataclass(frozen=True)
class Seen:
    """The largest of some pictures: its views, tokens of each in the prompt, and the patches the tower sees of all."""

    views: int = 1
    tokens: int = 1
    patches: int = 1


def largest_picture(data: PreparedQuestions) -> Seen:
    """Of a few questions from the first to the last; a small one where there are no pictures that can be read."""
    numbers = [number for number, question in enumerate(data.questions) if question.image is not None]
    step, found = max(1, len(numbers) // LOOKED_AT), Seen()
    processor: Any = data.processor
    for number in numbers[::step][:LOOKED_AT]:
        item = data[number]
        if isinstance(item, tuple):
            whole = sum(processor.counts(item[1]))
            each = processor.per_tile or whole
            found = max(found, Seen(whole // each, each, whole * processor.patches_of_token), key=_patches)
    return found


def _patches(seen: Seen) -> int:
    return seen.patches


def stage_tokens(model: Any, seen: Seen) -> list[int]:
    """Tokens of a picture in each stage of a reduced model's method."""
    plan, geometry = model.__dict__["_plan"], family_of(model.__dict__["_given"]).geometry(model)
    own = replace(geometry, patches=seen.tokens, views=seen.views)
    try:
        entering = min(own.most_tokens, plan.before(seen.tokens, seen.views).tokens_per_stage(own)[0])
    except InputError:  # a picture too small for the method, which is told where it is asked about
        entering = own.most_tokens
    later = plan.inside.tokens_per_stage(geometry)[1:]
    if plan.largest:
        return [entering, *(-(-count * entering // plan.largest) for count in later)]
    return [entering, *(min(count, entering) for count in later)]


def prefix_bytes(model: Any, seen: Seen, text_tokens: int) -> int:
    """Bytes of the KV cache of a prompt of one picture and so many tokens of text."""
    runs = layers_per_stage(model.reduction, model.config.get_text_config().num_hidden_layers)
    total = sum(run * (text_tokens + own) for run, own in zip(runs, stage_tokens(model, seen), strict=True))
    return token_bytes(model) * total


def rows_that_fit(model: Any, seen: Seen, text_tokens: int, new_tokens: int, beams: int, free: int) -> int:
    """A first guess at how many questions fit into `free` bytes at once, as `llava.eval.runs.memory` makes it."""
    text, vision, item = model.config.get_text_config(), model.config.vision_config, model.dtype.itemsize
    cache = prefix_bytes(model, seen, text_tokens + new_tokens) * (1 + beams)
    layer = (text_tokens + stage_tokens(model, seen)[0]) * (8 * text.hidden_size + 3 * text.intermediate_size)
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    inner = getattr(vision, "intermediate_size", None) or int(width * vision.mlp_ratio)
    encoder = seen.patches * (8 * width + 2 * inner)
    logits = beams * text.vocab_size * (item + 4)
    return rows_of(cache + (layer + encoder) * item + logits, model.device, free)
