"""Questions per second on workloads with as many questions per image as the benchmarks have, asked in three ways."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from llava.constants import IMAGE_TOKEN_INDEX
from llava.eval.runs.plan import plan_batches
from llava.eval.speed.clock import Work, medians
from llava.eval.speed.flops import count
from llava.eval.speed.latency import GREEDY
from llava.eval.speed.random_model import noise
from llava.model.generation.prefix import ImagePrefix, padded
from llava.model.generation.static_decoder import StaticDecoder
from llava.model.language_model.llava_causal_lm import LlavaCausalLM

# Questions about each image, of the published question files.
WORKLOADS = {"GQA": 32, "POPE": 18, "VQAv2": 3, "MME": 2, "VizWiz": 1}
BEFORE = 36  # tokens before the image under `vicuna_v1`, BOS included
SHORTEST, LONGEST = 16, 28  # tokens after it: a short question and the request for a short answer


class Questions:
    """Questions of random tokens about pictures of noise.

    Args:
        per_image: questions about each picture.
        least: how many questions at least; whole pictures are taken.
        new_tokens: length of each answer.
    """

    def __init__(self, model: LlavaCausalLM, per_image: int, least: int, new_tokens: int) -> None:
        self.model, self.new_tokens, self.per_image = model, new_tokens, per_image
        draw = torch.Generator().manual_seed(0)
        vocabulary = model.config.vocab_size
        self.pixels, self.sizes = noise(model, math.ceil(least / per_image))
        start = torch.randint(3, vocabulary, (BEFORE,), generator=draw).tolist()
        self.start = [*start, IMAGE_TOKEN_INDEX]
        lengths = torch.randint(SHORTEST, LONGEST + 1, (len(self.pixels) * per_image,), generator=draw).tolist()
        self.asked = [torch.randint(3, vocabulary, (length,), generator=draw).tolist() for length in lengths]
        self.image_of = [number // per_image for number in range(len(lengths))]

    @property
    def mean_length(self) -> int:
        """Tokens of a question after the image, on average."""
        return round(sum(map(len, self.asked)) / len(self.asked))

    @property
    def _greedy(self) -> dict[str, Any]:
        return GREEDY | {"max_new_tokens": self.new_tokens}

    def shown(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Some pictures as arguments of `generate`."""
        return {"images": [self.pixels[at] for at in numbers], "image_sizes": [self.sizes[at] for at in numbers]}

    def one_at_a_time(self, count: int) -> None:
        """The first questions, each a `generate` of its own, picture and all: how the official code works."""
        for number in range(count):
            ids = torch.tensor([self.start + self.asked[number]], device=self.model.device)
            self.model.generate(ids, **self.shown([self.image_of[number]]), **self._greedy)

    def batched(self, count: int) -> None:
        """The first questions as one batch of whole prompts."""
        ids, mask = padded([self.start + question for question in self.asked[:count]])
        shown = self.shown(self.image_of[:count])
        self.model.generate(ids.to(self.model.device), attention_mask=mask, **shown, **self._greedy)

    def shared(self, batch_size: int, decoder: StaticDecoder | None = None) -> None:
        """All questions in the batches of a runner, each picture encoded once."""
        kept: dict[int, ImagePrefix] = {}
        for batch in plan_batches(self.image_of, batch_size):
            new = sorted({self.image_of[number] for number in batch} - kept.keys())
            if new:
                prefixes = self.model.encode_prefixes([self.start] * len(new), **self.shown(new), decoder=decoder)
                kept |= dict(zip(new, prefixes))
            asked = [self.asked[number] for number in batch]
            self.model.ask([kept[self.image_of[n]] for n in batch], asked, decoder=decoder, **self._greedy)


def measure_throughput(
    model: LlavaCausalLM,
    names: Sequence[str],
    batch_size: int,
    new_tokens: int,
    repeats: int,
    clock: str,
    compiled: bool = False,
    singles: int = 4,
) -> list[dict[str, Any]]:
    """A row for each workload, all ways of all workloads timed in turn, under the model's method.

    Asking one at a time and asking in batches without sharing cost the same whatever the workload, so they are timed
    on `singles` and `batch_size` questions of the first one.
    """
    loads = {name: Questions(model, WORKLOADS[name], batch_size, new_tokens) for name in names}
    decoder = StaticDecoder(model) if compiled else None
    first, singles = loads[names[0]], min(singles, batch_size)
    works = {
        "single": Work(lambda _: first.one_at_a_time(singles)),
        "batched": Work(lambda _: first.batched(batch_size)),
    }
    for name, load in loads.items():
        works[f"shared {name}"] = Work(lambda _, load=load: load.shared(batch_size))
        if decoder is not None:
            works[f"compiled {name}"] = Work(lambda _, load=load: load.shared(batch_size, decoder))
    times = medians(works, repeats, model.device.type, clock)
    if decoder is not None and not decoder.works:
        times = {name: time for name, time in times.items() if not name.startswith("compiled")}
    return [_row(name, load, times, singles, batch_size) for name, load in loads.items()]


def _row(name: str, load: Questions, times: dict[str, float], singles: int, batch_size: int) -> dict[str, Any]:
    counted = count(load.model, load.model.reduction, BEFORE, load.mean_length, load.new_tokens)
    single, shared = singles / times["single"], len(load.asked) / times[f"shared {name}"]
    allowed = counted.per_question() / counted.per_question(load.per_image)
    compiled = times.get(f"compiled {name}")
    return {
        "workload": name,
        "questions_per_image": load.per_image,
        "questions": len(load.asked),
        "one_at_a_time_qps": single,
        "batched_qps": batch_size / times["batched"],
        "shared_qps": shared,
        "compiled_qps": len(load.asked) / compiled if compiled else None,
        "flops_one_at_a_time": counted.per_question(),
        "flops_shared": counted.per_question(load.per_image),
        "allowed_by_flops": allowed,
        "speedup": shared / single,
        "share_of_allowed": shared / single / allowed,
    }
