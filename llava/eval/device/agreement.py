"""What tests prove on a CPU, looked at on a device: one question alone, in a batch, shared, captured and compiled."""

from typing import Any

import torch

from llava.eval.device.choices import agreement, choices
from llava.eval.speed.throughput import Questions
from llava.model.generation.prefix import ImagePrefix, padded
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.trace import Trace
from llava.reduction import Reduction, name_of

# How far logits may be apart, as a share of the largest, and for what share of the questions they must be that near:
# in 16 bits the choice between two tokens of one score may fall otherwise in a batch, and another answer begins. Where
# the choices are known to be equal, all must be.
LIMITS = {torch.float32: (1e-4, 1.0), torch.float16: (2e-2, 0.5), torch.bfloat16: (1.5e-1, 0.5)}
LEAST_IN_COMMON = 0.5  # of all choices, in 16 bits: a rule that goes from one patch to the next may part from itself
PER_IMAGE = 4
STEPS = 4


def nearness(wanted: torch.Tensor, got: torch.Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """The largest distance of logits (B, V), as a share of the largest, and the share of rows within the limit."""
    wanted, got = wanted.float(), got.float()
    apart = (wanted - got).abs().amax(dim=1) / wanted.abs().max()
    apart = apart.nan_to_num(nan=torch.inf)
    return float(apart.max()), float((apart <= LIMITS[dtype][0]).float().mean())


@torch.inference_mode()
def ask_alone(model: LlavaCausalLM, method: Reduction, load: Questions) -> tuple[torch.Tensor, list]:
    """Logits (B, V) of the last prompt tokens, each question by itself, and what was chosen for each."""
    logits, chosen = [], []
    for number, question in enumerate(load.asked):
        trace = Trace()
        ids = torch.tensor([load.start + question], device=model.device)
        shown = load.shown([load.image_of[number]])
        logits.append(model(ids, **shown, reduction=method, trace=trace, logits_to_keep=1).logits[:, -1])
        chosen.append(choices(trace))
    return torch.cat(logits), chosen


@torch.inference_mode()
def ask_batched(model: LlavaCausalLM, method: Reduction, load: Questions) -> tuple[torch.Tensor, list]:
    """The same as one batch of whole prompts."""
    trace = Trace()
    ids, mask = padded([load.start + question for question in load.asked])
    arguments = {"attention_mask": mask, "reduction": method, "trace": trace, "logits_to_keep": 1}
    logits = model(ids.to(model.device), **load.shown(load.image_of), **arguments).logits[:, -1]
    return logits, [choices(trace, image) for image in range(len(load.asked))]


def prefixes_of(
    model: LlavaCausalLM, method: Reduction, load: Questions, decoder: StaticDecoder | None = None
) -> list[ImagePrefix]:
    """The prefix of each question: one for each picture where the method allows it.

    Of a fragile method pictures are encoded one by one, as each question alone has it: a batch may choose otherwise.
    """
    numbers = range(len(load.asked))
    if method.question_at_encoder:
        prompts = [load.start + question for question in load.asked]
        return model.encode_prefixes(prompts, **load.shown(load.image_of), reduction=method)
    pictures = sorted(set(load.image_of))
    groups = [[picture] for picture in pictures] if method.fragile else [pictures]
    found: dict[int, ImagePrefix] = {}
    for group in groups:
        given = load.shown(group) | {"reduction": method, "decoder": decoder}
        found |= dict(zip(group, model.encode_prefixes([load.start] * len(group), **given)))
    return [found[load.image_of[number]] for number in numbers]


@torch.inference_mode()
def ask_shared(model: LlavaCausalLM, method: Reduction, load: Questions) -> tuple[torch.Tensor, Any]:
    """Logits after prefixes, and the cache that decoding uses."""
    cache, logits, _ = model.prefill(prefixes_of(model, method, load), load.asked, method)
    return logits, cache


@torch.inference_mode()
def ask_captured(model: LlavaCausalLM, method: Reduction, load: Questions) -> torch.Tensor | None:
    """The same by captured prefixes and a captured step of the questions; None where nothing is captured."""
    decoder = StaticDecoder(model)
    if decoder.graphs is None:
        return None
    for _ in range(3):  # as it is, captured, replayed
        prefixes = prefixes_of(model, method, load, decoder)
    given, cache, _ = model._start(list(prefixes), [tuple(question) for question in load.asked], STEPS)
    begun = decoder.begin(cache, given.embeds, given.layout, STEPS)
    if not decoder.works:
        raise RuntimeError(f"nothing of {name_of(method)} could be captured")
    return begun[0].clone() if begun is not None else None


def agrees(
    wanted: torch.Tensor, got: torch.Tensor, chosen: list, others: list, dtype: torch.dtype, fragile: bool
) -> bool:
    """Whether a batch's logits are those of the questions alone wherever its choices are, which few are not."""
    equal = [one == other for one, other in zip(chosen, others, strict=True)]
    near = all(nearness(wanted[[row]], got[[row]], dtype)[1] == 1 for row, same in enumerate(equal) if same)
    least = 1.0 if dtype == torch.float32 else LEAST_IN_COMMON
    return near and (fragile or shares_of(chosen, others) >= least)


@torch.inference_mode()
def compare_steps(model: LlavaCausalLM, cache: Any, rows: int) -> tuple[float, float] | None:
    """`nearness` of the decoder's steps to those over the growing cache; None where it does not work here."""
    decoder = StaticDecoder(model)
    step = decoder.start(cache, rows, STEPS)
    if step is None:
        return None
    draw = torch.Generator().manual_seed(1)
    found = []
    for _ in range(STEPS):
        tokens = torch.randint(3, model.config.vocab_size, (rows,), generator=draw).to(model.device)
        got = step(tokens).clone()
        wanted = model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
        found.append(nearness(wanted, got, model.dtype))
    return max(worst for worst, _ in found), min(share for _, share in found)


def shares_of(wanted: list, got: list) -> float:
    """The share of all choices of all questions that are equal; 1 where nothing was chosen."""
    pairs = [share for one, two in zip(wanted, got, strict=True) for share in agreement(one, two)]
    return sum(pairs) / len(pairs) if pairs else 1.0


def examine(model: LlavaCausalLM, method: Reduction, compiled: bool, exact: list | None) -> dict[str, Any]:
    """One method on one device in one dtype.

    Args:
        compiled: also decode by the fixed-shape step.
        exact: what float32 chose for the same questions; None: this is float32.

    Returns:
        for `batched`, `shared`, `captured` and `compiled` the largest distance and the share of questions that agree;
        the shares of choices that are those of the question alone, and of float32; `right`: within `LIMITS`; `chosen`:
        for `exact`.
    """
    load = Questions(model, PER_IMAGE, 2 * PER_IMAGE, STEPS)
    alone, chosen = ask_alone(model, method, load)
    batched, chosen_together = ask_batched(model, method, load)
    shared, cache = ask_shared(model, method, load)
    ways = {"batched": nearness(alone, batched, model.dtype), "shared": nearness(alone, shared, model.dtype)}
    steps = compare_steps(model, cache, len(load.asked)) if compiled else None
    caught = ask_captured(model, method, load) if compiled else None
    if caught is not None:
        ways["captured"] = nearness(alone, caught, model.dtype)
    least = LIMITS[model.dtype][1]
    right = all(share >= least for way, (_, share) in ways.items() if way != "batched")
    right = right and (not compiled or (steps is not None and steps[1] == 1))
    right = right and agrees(alone, batched, chosen, chosen_together, model.dtype, method.fragile)
    return {
        "method": name_of(method),
        "dtype": str(model.dtype).removeprefix("torch."),
        "captured": None,
        **{way: {"apart": apart, "agree": share} for way, (apart, share) in ways.items()},
        "compiled": {"apart": steps[0], "agree": steps[1]} if steps is not None else None,
        "choices_batched": shares_of(chosen, chosen_together),
        "choices_float32": shares_of(exact, chosen) if exact is not None else 1.0,
        "right": right,
        "chosen": chosen,
    }
