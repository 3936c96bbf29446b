"""Measure what fewer image tokens and shared images save: latency by parts, questions per second, where time goes.

    python -m llava.eval.benchmark --json figures/speed_cpu.json --figure figures/speed_cpu.png
    python -m llava.eval.benchmark --preset next --workloads      # LLaVA-NeXT: five views, 2880 patches

A model with random weights is enough for that: cost does not depend on what weights say. Everything is timed in turn
and times are medians of one run on one machine; compare rows, not runs.
"""

import argparse
import dataclasses
import json
import shlex
import sys
from typing import Any

import torch

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.memory import free_bytes
from llava.eval.runs.options import DTYPES, device_from, dtype_from
from llava.eval.speed.fitting import fitting
from llava.eval.speed.options import add_size_options, add_timing_options, shape_from
from llava.eval.speed.paper import on_paper, paper_table
from llava.eval.speed.random_model import Shape, random_model
from llava.eval.speed.report import draw, latency_table, parts_table, throughput_table
from llava.eval.speed.tables import Asking, about, budgets_of, measure_tables, methods_for
from llava.eval.speed.throughput import WORKLOADS
from llava.files.writing import write_text

COUNT = at_least(1, 2**20)  # more of anything than a run ends with


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.benchmark", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    parser.add_argument(
        "--retain", type=COUNT, nargs="*", help="VisionDrop's budgets; the last asks; unset: the papers'"
    )
    parser.add_argument("--text-tokens", type=COUNT, default=55, help="prompt tokens besides the image")
    parser.add_argument("--new-tokens", type=COUNT, default=16, help="decoded tokens of the latency table")
    parser.add_argument("--answer-tokens", type=COUNT, default=4, help="decoded tokens of the throughput table")
    parser.add_argument("--batch-size", type=COUNT, default=32, help="questions asked together")
    parser.add_argument(
        "--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS), help="of the throughput table"
    )
    add_timing_options(parser)
    parser.add_argument("--compile", action="store_true", help="also decode by a CUDA graph, or compiled on a CPU")
    parser.add_argument("--on-paper", action="store_true", help="count operations and bytes of the model, run nothing")
    parser.add_argument("--json", help="also write the rows, the machine and the command here")
    parser.add_argument("--figure", help="also draw a picture here, PNG")
    add_size_options(parser, "model size; 7b is LLaVA-1.5-7B's")
    return parser


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """All tables, with the machine, the shape and the command."""
    device = device_from(args)
    shape, cut = fitting(shape_from(args), free_bytes(torch.device(device)))
    dtype = dtype_from(args, device)
    model = random_model(shape, device, dtype)
    asking = Asking(
        args.text_tokens, args.new_tokens, args.answer_tokens, args.batch_size, tuple(args.workloads), args.repeats,
        args.clock, args.compile,
    )  # fmt: skip
    methods = methods_for(model, budgets_from(args, shape))
    head = about(shape, model, asking)
    head |= {"about": f"{head['about']}; {cut}", "cut": cut} if cut else {}
    return head | {"command": command()} | measure_tables(model, methods, asking)


def budgets_from(args: argparse.Namespace, shape: Shape) -> list[int]:
    """VisionDrop's budgets: those given, or the papers'."""
    return args.retain if args.retain is not None else budgets_of(shape)


def command() -> str:
    """This command as it was typed."""
    return f"python -m llava.eval.benchmark {shlex.join(sys.argv[1:])}".strip()


def show(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print the tables of a measurement and draw it."""
    print(result["about"])
    print(f"\n{latency_table(result['rows'])}")
    if args.workloads:
        print(f"\n{throughput_table(result['throughput'])}\n\n{parts_table(result['parts'])}")
    if args.figure:
        draw(result, args.figure)
        print(f"\ndrawn in {args.figure}")


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    if args.figure and not args.workloads:
        raise InputError("--figure draws the throughput table: got no --workloads; leave that option out")
    if args.on_paper:
        dtype = DTYPES[args.dtype] or torch.float16
        shape = shape_from(args)
        result: dict[str, Any] = {"shape": dataclasses.asdict(shape), "command": command()}
        result["rows"] = on_paper(shape, dtype, budgets_from(args, shape), args.answer_tokens)
        print(paper_table(result["rows"]))
    else:
        result = measure_all(args)
        show(args, result)
    if args.json:
        write_text(args.json, json.dumps(result, indent=1) + "\n")
        print(f"\nwritten to {args.json}")


if __name__ == "__main__":
    run(main)
