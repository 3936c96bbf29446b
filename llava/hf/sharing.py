"""A picture encoded once and asked often: the cache of a prompt up to its last picture, which questions go on from.

For a method that reads the question the LLM runs over the picture with each question; its tower and projector run once.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from llava.errors import InputError
from llava.hf.cache import PromptCache
from llava.hf.note import Entering, Pictures
from llava.hf.note import together as in_turn
from llava.hf.plan import Plan
from llava.hf.prefix import ImagePrefix, joined, row_caches
from llava.hf.prompts import OF_TOKENS, START, Inputs, alike, begun, collated, rows_of
from llava.hf.seeing import KINDS, PIXELS
from llava.hf.spans import picture_layout
from llava.model.devices import device_of
from llava.model.trace import CountTrace
from llava.reduction.schedule import layers_per_stage

Prefixes = ImagePrefix | Sequence[ImagePrefix | None]


def reads_question(plan: Plan) -> bool:
    """True for a method whose tokens depend on the question."""
    method = plan.inside
    return method.reads_question or method.chooses_again


def placeholders(model: Any) -> list[int]:
    """The ids that stand for pictures and videos."""
    marks = [getattr(model.config, f"{kind}_token_id", None) for kind in KINDS]
    return [mark for mark in marks if mark is not None]


@torch.no_grad()
def encoded_prefixes(model: Any, plan: Plan, prompts: Sequence[Inputs]) -> list[ImagePrefix]:
    """See `Reduced.encode_images`."""
    starts = [begun(inputs, placeholders(model), device_of(model.get_input_embeddings())) for inputs in prompts]
    encode = _seen if reads_question(plan) else _run
    found: dict[int, ImagePrefix] = {}
    for numbers in alike(starts):
        found |= zip(numbers, encode(model, plan, [starts[number] for number in numbers]))
    return [found[number] for number in range(len(starts))]


def _run(model: Any, plan: Plan, starts: list[dict[str, Any]]) -> list[ImagePrefix]:
    """The LLM over prompts that end with a picture, as one batch."""
    text = model.config.get_text_config(decoder=True)
    cache, trace = PromptCache(text), CountTrace()
    model(**collated(starts), past_key_values=cache, use_cache=True, logits_to_keep=1, trace=trace)
    assert trace.layout is not None, "there are pictures"
    layouts = [trace.layout, *(stage.after for stage in trace.stages)]
    layouts += layouts[-1:] * (len(cache.stages) - len(layouts))
    rows = [cache] if len(starts) == 1 else row_caches(cache, layouts, [len(own[START]) for own in starts])
    tokens = trace.tokens(layers_per_stage(plan.inside, text.num_hidden_layers))
    return [
        ImagePrefix(own["input_ids"], own[START], rows[row], plan, tokens_per_layer=tokens[row])
        for row, own in enumerate(starts)
    ]


def _seen(model: Any, plan: Plan, starts: list[dict[str, Any]]) -> list[ImagePrefix]:
    """What would enter the LLM of the pictures of some prompts, encoded as one batch."""
    given = collated(starts)
    call, note = model._call(None, True)
    note.prompt = note.asked = given["input_ids"].cpu()
    found = {}
    for kind, pixels in zip(KINDS, PIXELS):
        if given.get(pixels) is None:
            continue
        see: Any = getattr(call.model, f"get_{kind}_features")
        named = inspect.signature(see).parameters
        made = see(**{name: value for name, value in given.items() if name in named}, return_dict=True)
        token = getattr(model.config, f"{kind}_token_id")
        found[token] = _entering(note.pictures[token], made, call.model.deep_of(made))
    lengths = tuple(len(own[START]) for own in starts)
    counts = {token: own.counts for token, own in found.items()}
    layout, numbers = picture_layout(note.prompt, counts, lengths)
    prefixes = []
    for row, own in enumerate(starts):
        here = [number for span, number in zip(layout.spans, numbers) if span.row == row]
        first, pictures = 0, {}
        for token, pictured in found.items():
            mine = [number - first for number in here if first <= number < first + len(pictured.counts)]
            first += len(pictured.counts)
            if mine:
                pictures[token] = _some(pictured, mine)
        more = {name: value for name, value in own.items() if name not in (*OF_TOKENS, *PIXELS, START)}
        prefixes.append(ImagePrefix(own["input_ids"], own[START], None, plan, pictures, more))
    return prefixes


def _entering(pictures: Pictures, made: Any, deep: Sequence[Sequence[torch.Tensor]]) -> Pictures:
    """Pictures with what enters in their place, where a method leaves them whole before the LLM too."""
    if pictures.entering is not None:
        return pictures
    tokens = torch.cat(list(made.pooler_output))
    sources = torch.cat([torch.arange(count) for count in pictures.counts]).to(tokens.device)
    added = tuple(torch.cat(list(layer)) for layer in deep)
    return replace(pictures, entering=Entering(tokens, pictures.counts, sources, added))


def _some(pictures: Pictures, numbers: Sequence[int]) -> Pictures:
    """Those of some numbers, in that order, with tensors of their own."""
    whole = pictures.entering
    assert whole is not None, "they enter from here"

    def of(tensor: torch.Tensor) -> torch.Tensor:
        parts = tensor.split(list(whole.counts))
        return torch.cat([parts[number] for number in numbers])

    counts = tuple(whole.counts[number] for number in numbers)
    entering = Entering(of(whole.tokens), counts, of(whole.sources), tuple(of(one) for one in whole.deep))
    return Pictures(tuple(pictures.counts[number] for number in numbers), entering)


def asked(model: Any, prefix: Prefixes, questions: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """See `Reduced.ask`."""
    config = kwargs.get("generation_config") or model.generation_config
    copies = max(int(kwargs.get(name, getattr(config, name)) or 1) for name in ("num_beams", "num_return_sequences"))
    filler = kwargs.get("pad_token_id", config.pad_token_id) or 0
    given, pictures = _rows(model, prefix, questions, filler, copies, int(kwargs.get("max_new_tokens") or 0))
    width, trace = given["input_ids"].shape[1], kwargs.pop("trace", None)
    made = model._generate(trace, pictures, (), {**given, **kwargs})
    if isinstance(made, torch.Tensor):
        return made[:, width:]
    made.sequences = made.sequences[:, width:]
    return made


@torch.no_grad()
def logits_after(model: Any, prefix: Prefixes, questions: Sequence[Any], keep: int) -> torch.Tensor:
    """(B, keep, V), the logits of the last tokens of questions after prefixes of a method that does not read them."""
    given, _ = _rows(model, prefix, questions, 0, 1, 0)
    cache = given.get("past_key_values")
    if cache is not None:
        past = cache.get_seq_length()
        given["input_ids"] = given["input_ids"][:, past:]
        if cache.rope_deltas is not None:  # without them a model counts the columns it is not given too
            text = (given["attention_mask"].cumsum(dim=1) - 1)[:, past:]
            given["position_ids"] = (text + cache.rope_deltas)[None].expand(3, -1, -1)
    return model(**given, logits_to_keep=keep).logits


def _rows(
    model: Any, prefix: Prefixes, questions: Sequence[Any], filler: int, copies: int, room: int
) -> tuple[dict[str, Any], dict[int, Pictures]]:
    """Arguments of `generate` for questions after prefixes, and what enters of pictures the LLM has not run over.

    Raises:
        InputError: for another model's prefix, another number of prefixes than of questions, or an empty question.
    """
    prefixes = [prefix] * len(questions) if isinstance(prefix, ImagePrefix) else list(prefix)
    if len(prefixes) != len(questions) or not prefixes:
        raise InputError(
            f"ask needs a prefix for each question: got {len(prefixes)} for {len(questions)} questions; pass as many"
        )
    plan = model.__dict__["_plan"]
    if any(own is not None and own.plan is not plan for own in prefixes):
        raise InputError("a prefix belongs to the reduced model that encoded it: got another's; encode the image again")
    starts = [() if own is None else own.start for own in prefixes]
    rows = [_after(start, torch.as_tensor(one).flatten().tolist()) for start, one in zip(starts, questions)]
    if not all(rows):
        raise InputError("ask takes questions of a token or more after the picture: got an empty one; leave it out")
    device = device_of(model.get_input_embeddings())
    if all(own is None for own in prefixes):
        ids, real = rows_of([[]] * len(rows), rows, filler, device)
        return {"input_ids": ids, "attention_mask": real}, {}
    if not reads_question(plan):
        ids, real = rows_of(starts, rows, filler, device)
        caches = [None if own is None else own.cache for own in prefixes]
        width = max(map(len, starts))
        cache = joined(caches, width, copies, ids.shape[1] - width + room)
        return {"input_ids": ids, "attention_mask": real, "past_key_values": cache}, {}
    ids, real = rows_of([[]] * len(rows), [(*start, *row) for start, row in zip(starts, rows)], filler, device)
    shown = [own for own in prefixes if own is not None]
    given = {"input_ids": ids, "attention_mask": real}
    for name in shown[0].more:
        given[name] = torch.cat([own.more[name] for own in shown])
    tokens = dict.fromkeys(token for own in shown for token in own.pictures)
    pictures = {token: in_turn([own.pictures[token] for own in shown if token in own.pictures]) for token in tokens}
    if hasattr(model.model, "get_rope_index"):
        kinds = {getattr(model.config, f"{kind}_token_id"): at for at, kind in enumerate(KINDS, 1)}
        marked = [[kinds.get(token, 0) for token in (*start, *row)] for start, row in zip(starts, rows)]
        given["mm_token_type_ids"] = rows_of([[]] * len(rows), marked, 0, device)[0].int()
    return given, pictures


def _after(start: Sequence[int], question: list[int]) -> list[int]:
    """What is to be run after a prefix."""
    return question[len(start) :] if question[: len(start)] == list(start) else question
