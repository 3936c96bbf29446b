"""Examine one GPU in one call: is what was proven on a CPU right there, how fast is it, and how far from its peak.

    python -m llava.eval.gpu --output figures/speed_gpu

Models have random weights, so nothing has to be fetched. Every part is saved when it is done; a part that fails is
reported and the next begins. Ends with code 1 where an answer was not right or a part failed. With `--device cpu
--models tiny` it tries out itself.
"""

import argparse
import dataclasses
import gc
import json
import shlex
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers.utils import is_flash_attn_2_available

from llava.eval.device.agreement import examine
from llava.eval.device.aims import aims
from llava.eval.device.elsewhere import SMALL, SMALL_BUDGET, compare_with_cpu
from llava.eval.device.page import ELSEWHERE, all_right, page
from llava.eval.device.sections import run_sections
from llava.eval.device.syncs import count_syncs
from llava.eval.method_cost import all_at_budget
from llava.eval.runs.command import Parser, at_least, between, run
from llava.eval.runs.options import device_from
from llava.eval.speed.latency import OneQuestion
from llava.eval.speed.random_model import PRESETS, Shape, machine, random_model
from llava.eval.speed.report import draw
from llava.eval.speed.roofline import against, measure_roof
from llava.eval.speed.tables import Asking, about, budgets_of, measure_tables, methods_for
from llava.files.writing import write_text
from llava.reduction import available, name_of

# Answers are compared on a model that is deep enough for every schedule and small enough for a minute, at a budget that
# every method comes to there.
BUDGET, TINY_BUDGET = 96, 20
CHECKED = Shape(8, 1024, 2816, 16, vision_layers=6, vision_width=512, vision_heads=8)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="what to examine")
    parser.add_argument("--models", nargs="*", default=["7b", "next-7b", "13b"], choices=tuple(PRESETS), help="sizes")
    names = available()
    parser.add_argument("--methods", nargs="*", default=names, choices=names, help="whose answers are compared")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="runs a median is taken of")
    parser.add_argument("--minutes", type=between(0, 1e4), default=8.5, help="no part begins later than this")
    parser.add_argument("--output", default="figures/speed_gpu", help="stem of the .json, .md and .png to write")
    return parser


def check_answers(
    device: str, dtype: torch.dtype, names: list[str], tiny: bool, exact: dict[str, Any]
) -> list[dict[str, Any]]:
    """Methods in one dtype. Float32 comes first: what it chose is put into `exact`, for the others."""
    model = random_model(PRESETS["tiny"] if tiny else CHECKED, device, dtype)
    rows = []
    # Convolutions of float32 run in TF32 otherwise, and a picture in a batch of other sizes by another kernel.
    with torch.backends.cudnn.flags(allow_tf32=False):
        for method in all_at_budget(names, TINY_BUDGET if tiny else BUDGET, model.geometry):
            row = examine(model, method, True, exact.get(name_of(method)))
            exact.setdefault(row["method"], row.pop("chosen"))
            row.pop("chosen", None)
            with torch.inference_mode():
                rows.append(row | {"syncs": count_syncs(OneQuestion(model, method, 40, 1).prefill, device)})
    return rows


def measure_model(name: str, device: str, dtype: torch.dtype, repeats: int, attention: str = "sdpa") -> dict[str, Any]:
    """The benchmark's tables about a model of one size, and how far each row is from the device's peak."""
    free(device)
    shape, asking = PRESETS[name], Asking(new_tokens=10, clock="device", compiled=True, repeats=repeats)
    if name == "tiny":
        asking = dataclasses.replace(asking, repeats=1, workloads=("GQA",), batch_size=8)
    roof = measure_roof(device, dtype)
    model = random_model(shape, device, dtype, attention)
    budgets = budgets_of(shape) if name != "tiny" else [TINY_BUDGET]
    result = about(shape, model, asking) | measure_tables(model, methods_for(model, budgets), asking)
    parts = (*model.get_model().layers.parameters(), model.lm_head.weight)
    weights = sum(part.numel() * part.itemsize for part in parts)
    return result | {"roof": dataclasses.asdict(roof), "of_peak": against(roof, result["rows"], weights)}


def free(device: str) -> None:
    """Let go of what an earlier part held."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def parts_of(args: argparse.Namespace, device: str) -> dict[str, Callable[[], Any]]:
    """What is done, in order: answers before speed, the smaller model before the larger."""
    exact: dict[str, Any] = {}
    tiny = args.models == ["tiny"]
    dtype = torch.float32 if device == "cpu" else torch.float16
    small = (PRESETS["tiny"], TINY_BUDGET) if tiny else (SMALL, SMALL_BUDGET)
    parts: dict[str, Callable[[], Any]] = {ELSEWHERE: lambda: compare_with_cpu(device, args.methods, *small)}
    for one in DTYPES:
        name = f"agreement {str(one).removeprefix('torch.')}"
        parts[name] = lambda one=one: check_answers(device, one, args.methods, tiny, exact)
    for model in args.models:
        parts[f"tables {model}"] = lambda model=model: measure_model(model, device, dtype, args.repeats)
    if device == "cuda" and args.models and is_flash_attn_2_available():
        first = args.models[0]
        flash = "flash_attention_2"
        parts["tables flash attention"] = lambda: measure_model(first, device, dtype, args.repeats, flash)
    return parts


def tables_of(found: dict[str, Any]) -> dict[str, Any]:
    """The tables among what was found, by their model."""
    return {name.removeprefix("tables "): one for name, one in found.items() if name.startswith("tables")}


def described(result: dict[str, Any]) -> dict[str, Any]:
    """What was found, with the aims that it reaches."""
    return result | {"aims": aims(tables_of(result["found"]))}


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    device = device_from(args)
    head = {"machine": machine(device), "command": f"python -m llava.eval.gpu {shlex.join(sys.argv[1:])}".strip()}

    def save(result: dict[str, Any]) -> None:
        whole = head | described(result)
        write_text(f"{args.output}.json", json.dumps(whole, indent=1) + "\n")
        write_text(f"{args.output}.md", page(whole))
        drawn = next((one for one in tables_of(result["found"]).values() if one["throughput"]), None)
        if drawn is not None:
            draw(drawn, f"{args.output}.png")

    result = run_sections(parts_of(args, device), 60 * args.minutes, save)
    print(page(head | described(result)))
    if result["failed"] or not all_right(result["found"]):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
