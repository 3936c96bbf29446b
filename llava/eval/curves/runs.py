"""The runs of an accuracy curve, and the answers to all questions under each of them, with the model loaded once."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from tqdm import tqdm

from llava.errors import InputError
from llava.eval.results.table import UNREDUCED
from llava.eval.runs.inputs import PreparedQuestions, batches
from llava.eval.runs.loading import Loaded
from llava.eval.runs.tally import counted
from llava.model.generation.stops import Stops
from llava.model.trace import CountTrace
from llava.reduction import Geometry, Reduction, method_class
from llava.reduction.schedule import average_tokens

BLIND = "blind"


@dataclass(frozen=True)
class Run:
    """All questions once under one method.

    Attributes:
        name: the method's, or `blind` where every picture is of one colour, the mean of all pictures: zeros, since
            pixels are given as distances from it.
        retain: the budget asked for, image tokens per LLM layer; None where there is none.
        reduction: the method with its settings.
        tokens: the average image tokens per LLM layer: what the settings come to for the largest picture, and once all
            questions are answered what was counted (`answer_all`).
        seed: of a method that draws lots.
    """

    name: str
    retain: int | None
    reduction: Reduction
    tokens: float
    seed: int | None = None


@dataclass(frozen=True)
class Unreached:
    """A budget that a method's schedule cannot come to, and why."""

    name: str
    retain: int
    reason: str


def plan_runs(
    geometry: Geometry, methods: Iterable[str], divisors: Iterable[float], seeds: int
) -> tuple[list[Run], list[Unreached]]:
    """Every method at every budget, from the method's own `from_budget`; nothing is chosen by hand.

    Args:
        methods: names; `none` is run once, and with it `blind`.
        divisors: a budget is all tokens of an image divided by one of these, rounded.
        seeds: runs of a method that draws lots, with the seeds 0, 1, ...
    """
    runs, unreached = [], []
    for name in methods:
        kind = method_class(name)
        if name == UNREDUCED:
            runs += [Run(of, None, kind(), average_tokens(kind(), geometry)) for of in (UNREDUCED, BLIND)]
            continue
        for divisor in divisors:
            retain = round(geometry.patches * geometry.views / divisor)
            try:
                method = kind.from_budget(retain, geometry)
                method.check(geometry)
            except InputError as error:
                unreached.append(Unreached(name, retain, str(error)))
                continue
            tokens = average_tokens(method, geometry)
            if "seed" not in {field.name for field in dataclasses.fields(method)}:
                runs.append(Run(name, retain, method, tokens))
                continue
            seeded: list[Any] = [dataclasses.replace(method, **{"seed": seed}) for seed in range(seeds)]
            runs += [Run(name, retain, one, tokens, one.seed) for one in seeded]
    return runs, unreached


@torch.inference_mode()
def runnable(loaded: Loaded, data: PreparedQuestions, runs: list[Run]) -> tuple[list[Run], list[Unreached]]:
    """The runs that this checkpoint can do, tried on the first question, and why it cannot do the others.

    Some methods need more than LLaVA does: CDPruner and TRIM read the question with CLIP's text tower.

    Raises:
        InputError: for a picture that cannot be read, or where not even the plain model can answer.
    """
    item = data[0]
    if isinstance(item, InputError):
        raise item
    stops = loaded.stops(data.conv_mode)
    possible: list[Run] = []
    unreached: dict[tuple[str, int | None], Unreached] = {}
    for run in runs:
        try:
            answer(loaded, [item], run, stops, 1)
        except InputError as error:
            if run.retain is None:
                raise
            unreached[run.name, run.retain] = Unreached(run.name, run.retain, str(error))
        else:
            possible.append(run)
    return possible, list(unreached.values())


@torch.inference_mode()
def answer_all(
    loaded: Loaded, data: PreparedQuestions, runs: list[Run], batch_size: int, max_new_tokens: int
) -> tuple[list[Run], list[list[str]]]:
    """The answers of every run to every question, decoded greedily; a picture is read and prepared once.

    Returns:
        the runs with the tokens that were counted, and the answers of each.

    Raises:
        InputError: for a picture that cannot be read.
    """
    texts: list[list[str]] = [[] for _ in runs]
    counts: list[list[float]] = [[] for _ in runs]
    stops = loaded.stops(data.conv_mode)
    with tqdm(total=len(data) * len(runs), unit="question", smoothing=0.05) as progress:
        for items in batches(data, 0, batch_size, workers=0):
            spoilt = next((item for item in items if isinstance(item, InputError)), None)
            if spoilt is not None:
                raise spoilt
            for run, answers, tokens in zip(runs, texts, counts):
                new, found = answer(loaded, items, run, stops, max_new_tokens)
                answers += new
                tokens += found
                progress.update(len(items))
    return [replace(run, tokens=fmean(own or [run.tokens])) for run, own in zip(runs, counts)], texts


def answer(
    loaded: Loaded, items: list[tuple], run: Run, stops: Stops, max_new_tokens: int
) -> tuple[list[str], list[float]]:
    """The answers to a batch of prepared questions; what questions about one picture share is computed once.

    Returns:
        the answers, and the image tokens per LLM layer that each was computed with, counted.
    """
    if run.name == BLIND:
        items = [(ids, torch.zeros_like(pixels), size) for ids, pixels, size in items]
    alone = run.reduction.question_at_encoder  # then nothing of a picture is shared
    numbers = list(range(len(items))) if alone else picture_numbers([pixels for _, pixels, _ in items])
    firsts = [items[numbers.index(number)] for number in range(numbers[-1] + 1)]
    prefixes = loaded.model.encode_prefixes(
        [ids for ids, _, _ in firsts],
        [pixels for _, pixels, _ in firsts],
        [size for _, _, size in firsts],
        run.reduction,
    )
    rows, trace = [prefixes[number] for number in numbers], CountTrace()
    output = loaded.model.ask(
        rows,
        [ids for ids, _, _ in items],
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=loaded.padding,
        trace=trace,
        **stops.arguments(loaded.tokenizer),
    )
    texts = [stops.cut(text) for text in loaded.tokenizer.batch_decode(output, skip_special_tokens=True)]
    return texts, list(counted(rows, trace, loaded.model.config.num_hidden_layers).values())


def picture_numbers(pictures: list[torch.Tensor]) -> list[int]:
    """Which of the different pictures each one is, from 0; equal ones stand next to each other."""
    numbers = [0]
    for before, after in zip(pictures, pictures[1:]):
        same = before is after or (before.shape == after.shape and torch.equal(before, after))
        numbers.append(numbers[-1] + (not same))
    return numbers
