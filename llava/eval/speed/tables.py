"""All tables about one model: latency by parts, questions per second, and where the time of an answer goes."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from llava.eval.speed.breakdown import measure_shared_parts, parts_of_one
from llava.eval.speed.latency import OneQuestion, measure_latency
from llava.eval.speed.random_model import Shape, machine
from llava.eval.speed.throughput import WORKLOADS, Questions, measure_throughput
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.reduction import Reduction, method_class


@dataclass(frozen=True)
class Asking:
    """What is asked and how it is timed.

    Attributes:
        text_tokens: prompt tokens besides the image, of the latency table.
        new_tokens: decoded tokens of the latency table.
        answer_tokens: decoded tokens of the throughput table.
        batch_size: questions asked together.
        workloads: names of `WORKLOADS`; none: no throughput table.
        repeats: runs a median is taken of.
        clock: one of `CLOCKS`.
        compiled: also decode by a CUDA graph, or compiled on a CPU.
    """

    text_tokens: int = 55
    new_tokens: int = 16
    answer_tokens: int = 4
    batch_size: int = 32
    workloads: tuple[str, ...] = tuple(WORKLOADS)
    repeats: int = 5
    clock: str = "wall"
    compiled: bool = False


def budgets_of(shape: Shape) -> list[int]:
    """The papers' budgets, for one view or for LLaVA-NeXT's five."""
    return [640, 320, 160] if shape.grid else [192, 128, 64, 32]


def methods_for(model: LlavaCausalLM, budgets: list[int]) -> list[Reduction]:
    """No reduction, then VisionDrop at each budget, checked for the model."""
    methods: list[Reduction] = [method_class("none")()]
    methods += [method_class("visiondrop").from_budget(retain, model.geometry) for retain in budgets]
    for method in methods:
        method.check(model.geometry)
    return methods


def about(shape: Shape, model: LlavaCausalLM, asking: Asking) -> dict[str, Any]:
    """What a result must be read with: machine and sizes."""
    dtype = str(model.dtype).removeprefix("torch.")
    parameters = sum(p.numel() for p in model.get_model().layers.parameters())
    return {
        "about": (
            f"{machine(model.device.type)}; {dtype}, {asking.clock} time\n"
            f"LLM {shape.layers} layers x {shape.width} ({parameters / 1e6:.0f} M parameters), CLIP "
            f"{shape.vision_layers} layers x {shape.vision_width}, {asking.text_tokens} text tokens, random weights"
        ),
        "machine": machine(model.device.type),
        "dtype": dtype,
        "shape": dataclasses.asdict(shape),
        "llm_parameters": parameters,
    }


@torch.inference_mode()
def measure_tables(model: LlavaCausalLM, methods: list[Reduction], asking: Asking) -> dict[str, Any]:
    """Rows of the latency table for each method; throughput and parts under the last of them."""
    asked = [OneQuestion(model, method, asking.text_tokens, asking.new_tokens, asking.compiled) for method in methods]
    rows = measure_latency(asked, asking.repeats, asking.clock)
    result: dict[str, Any] = {"rows": rows, "throughput": [], "parts": {}}
    if asking.workloads:
        model.reduction = methods[-1]
        sizes = (asking.batch_size, asking.answer_tokens, asking.repeats, asking.clock)
        result["throughput"] = measure_throughput(model, asking.workloads, *sizes, asking.compiled)
        load = Questions(model, WORKLOADS[asking.workloads[0]], 1, asking.answer_tokens)
        labels = dict.fromkeys([(0, "no reduction, one at a time"), (len(rows) - 1, "reduced, one at a time")])
        parts = {label: parts_of_one(rows[at], asking.new_tokens, asking.answer_tokens) for at, label in labels}
        shared = measure_shared_parts(load, rows[-1]["reduction_ms"], asking.repeats, asking.clock)
        result["parts"] = parts | {f"reduced, {load.per_image} questions shared": shared}
    return result
