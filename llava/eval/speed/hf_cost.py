"""What a reduction saves and costs on transformers' classes: calls in turn, and how much of each is the model's."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from llava.eval.speed.clock import Work, medians
from llava.eval.speed.hf_model import PICTURE
from llava.reduction.schedule import DecoderShape

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def clock_of(name: str, device: str) -> Callable[[], float]:
    """Seconds by one of `CLOCKS`, read when a GPU has done what it was given: work that is waiting counts nowhere."""
    read = CLOCKS[name]
    if device != "cuda":
        return read

    def now() -> float:
        torch.cuda.synchronize()
        return read()

    return now


@contextmanager
def timed_parts(model: Any, now: Callable[[], float]) -> Iterator[dict[str, float]]:
    """While entered, adds up seconds of the LLM's layers (`layers`) and of the other parts (`others`) of a model.

    Args:
        now: of `clock_of`; on a GPU each part begins and ends with an idle device, which makes a call slower.
    """
    spent, began, hooks = {"layers": 0.0, "others": 0.0}, [0.0], []

    def begin(*_: Any) -> None:
        began[0] = now()

    def end(kind: str) -> Callable[..., None]:
        def add(*_: Any) -> None:
            spent[kind] += now() - began[0]

        return add

    visual, text = model.model.visual, model.model.language_model
    parts = [(part, "layers") for part in text.layers]
    parts += [
        (part, "others") for part in (visual.patch_embed, *visual.blocks, visual.merger, text.norm, model.lm_head)
    ]
    for part, kind in parts:
        hooks += [part.register_forward_pre_hook(begin), part.register_forward_hook(end(kind))]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def measure(
    model: Any, reduced: dict[str, Any], given: dict[str, torch.Tensor], repeats: int, clock: str
) -> list[dict[str, Any]]:
    """A row for the model and each reduced one: medians in milliseconds of calls that were made in turn.

    Own work is what a call takes beside layers, blocks and heads, less what the unreduced one takes so.
    """
    now, models = clock_of(clock, model.device.type), {"none": model, **reduced}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, one in models.items():
            with timed_parts(model, now) as spent:
                started = now()
                one(**given, logits_to_keep=1)
                whole = now() - started
            times[name].append({"call": whole, **spent, "rest": whole - sum(spent.values())})
    middle = {
        name: {part: 1e3 * statistics.median(one[part] for one in own[1:]) for part in own[0]}
        for name, own in times.items()
    }
    first, shape, width = middle["none"], DecoderShape.of(model.config.text_config), given["input_ids"].shape[1]
    text, flops = int((given["input_ids"] != PICTURE).sum()), shape.layers * shape.layer_flops(width)
    rows = []
    for name, own in middle.items():
        cache = models[name](**given, logits_to_keep=1, use_cache=True).past_key_values
        held = [layer.get_seq_length() for layer in cache.layers]
        fewer = sum(shape.layer_flops(columns) for columns in held)
        rows.append(
            {
                "method": name,
                "tokens": statistics.mean(held) - text,
                "call_ms": own["call"],
                "layers_faster": first["layers"] / own["layers"],
                "layers_fewer": flops / fewer,
                "call_faster": first["call"] / own["call"],
                "own_ms": own["rest"] - first["rest"],
                "own_share": (own["rest"] - first["rest"]) / first["call"],
            }
        )
    return rows


@torch.inference_mode()
def measure_sharing(
    reduced: Any, given: dict[str, torch.Tensor], questions: int, repeats: int, clock: str
) -> tuple[float, float]:
    """Median milliseconds of so many questions about one picture: asked one at a time, and of its shared prefix."""
    words = given["input_ids"][0, -16:]
    asked = [(words + number) % 800 + 1 for number in range(questions)]
    greedy = {"max_new_tokens": 4, "do_sample": False}

    def alone() -> None:
        for own in asked:
            ids = torch.cat([given["input_ids"][:, :-16], own[None]], dim=1)
            reduced.generate(**{**given, "input_ids": ids}, **greedy)

    def shared() -> None:
        reduced.ask(reduced.encode_image(**given), asked, **greedy)

    works = {"alone": Work(lambda _: alone()), "shared": Work(lambda _: shared())}
    seconds = medians(works, repeats, words.device.type, clock)
    return 1e3 * seconds["alone"], 1e3 * seconds["shared"]
