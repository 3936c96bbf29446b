"""What each method's own work costs, beside the encoder and the prefill, every method at one budget.

    python -m llava.eval.method_cost --retain 64 --clock cpu

Own work is all that a method adds: the attention rows and keys it asks for, choosing and merging. A model with random
weights is enough for that. Everything is timed in turn and times are medians of one run on one machine; compare rows,
not runs. Operations are counted as torch issues them for one image: on a GPU each is a launch.
"""

import dataclasses
import json

import torch

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES, device_from, dtype_from
from llava.eval.speed.options import add_size_options, add_timing_options, shape_from
from llava.eval.speed.own_work import measure_own_work
from llava.eval.speed.random_model import machine, random_model
from llava.eval.speed.report import own_work_table
from llava.files.writing import write_text
from llava.reduction import Geometry, Reduction, available, method_class


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.method_cost", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    parser.add_argument("--methods", nargs="+", default=available(), choices=available(), help="what to compare")
    parser.add_argument("--retain", type=at_least(1), default=64, help="average image tokens per LLM layer")
    parser.add_argument("--images", type=at_least(1), default=8, help="pictures of the batch in the last column")
    parser.add_argument("--text-tokens", type=at_least(1), default=55, help="prompt tokens besides the image")
    add_timing_options(parser)
    parser.add_argument("--json", help="also write the rows here")
    add_size_options(parser, "model size; 7b is LLaVA-1.5-7B's")
    return parser


def at_budget(names: list[str], retain: int, geometry: Geometry) -> tuple[list[Reduction], list[str]]:
    """The methods at a budget, one without settings as it is; and a line for each that cannot come to it."""
    methods, unreached = [], []
    for name in dict.fromkeys(names):
        kind = method_class(name)
        try:
            method = kind.from_budget(retain, geometry) if dataclasses.fields(kind) else kind()
            method.check(geometry)
        except InputError as error:
            unreached.append(f"{name} at {retain} is not there: {error}")
            continue
        methods.append(method)
    return methods, unreached


def all_at_budget(names: list[str], retain: int, geometry: Geometry) -> list[Reduction]:
    """`at_budget` where all must come to it: InputError for the first that cannot."""
    methods, unreached = at_budget(names, retain, geometry)
    if unreached:
        raise InputError(unreached[0])
    return methods


@torch.inference_mode()
def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    device, shape = device_from(args), shape_from(args)
    dtype = dtype_from(args, device)
    model = random_model(shape, device, dtype)
    methods, unreached = at_budget(args.methods, args.retain, model.geometry)
    if not methods:
        raise InputError(unreached[0])
    rows = measure_own_work(model, methods, args.text_tokens, args.images, args.repeats, args.clock)
    name = str(dtype).removeprefix("torch.")
    about = f"{machine(device)}; {name}, {args.clock} time; LLM {shape.layers} layers x {shape.width}, CLIP "
    about += f"{shape.vision_layers} layers x {shape.vision_width}, {args.text_tokens} text tokens, random weights"
    print("\n\n".join([about, own_work_table(rows, args.images), *unreached]))
    if args.json:
        write_text(args.json, json.dumps({"about": about, "rows": rows, "unreached": unreached}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
