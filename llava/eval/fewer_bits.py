"""Fewer bits on a CPU: how right answers stay on a benchmark, and how much faster one question about a picture is.

    python -m llava.eval.fewer_bits --json figures/fewer_bits.json
    python -m llava.eval.fewer_bits --preset 7b --layers 8 --vision-layers 6    # a quarter of LLaVA-1.5-7B

Accuracy is of a checkpoint, the shapes' by default, with all image tokens and with VisionDrop. Speed is of random
weights, since a small checkpoint says nothing of a large one's: everything is timed in turn, times are medians of one
run on one machine. 8 bits: the language model's matrices alone, beside bfloat16 for everything else.
"""

import argparse
import dataclasses
import json
from typing import Any

import torch

from llava.eval.curves.asking import ask
from llava.eval.curves.runs import Run
from llava.eval.judging.opening import add_benchmark_options, open_one
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.memory import free_bytes
from llava.eval.speed.bits import PRECISIONS, bits_table, measure_bits
from llava.eval.speed.fitting import fitting
from llava.eval.speed.options import add_size_options, add_timing_options, shape_from
from llava.eval.speed.random_model import machine
from llava.files.writing import write_text
from llava.reduction import method_class
from llava.reduction.schedule import average_tokens

NINTH = 9  # part of a picture's tokens that the checkpoint is asked with


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.fewer_bits", description=(__doc__ or "").split("\n")[0])
    names = list(PRECISIONS)
    parser.add_argument("--precisions", nargs="+", default=names, choices=names, help="the first is the measure")
    add_timing_options(parser, repeats=3)
    parser.add_argument("--retain", type=at_least(1), default=32, help="VisionDrop's budget where speed is measured")
    parser.add_argument("--text-tokens", type=at_least(1), default=55, help="prompt tokens besides the image")
    parser.add_argument("--new-tokens", type=at_least(1), default=16, help="decoded tokens of an answer")
    parser.add_argument("--json", help="also write the rows here")
    add_size_options(parser, "of the model that is timed", "of that model, over the preset")
    add_benchmark_options(parser, None)
    return parser


def accuracies(args: argparse.Namespace) -> list[dict[str, Any]]:
    """For each precision the checkpoint's accuracy in per cent with all image tokens and with a ninth of them.

    Beside it how many questions were answered as rightly as in the first precision, in per cent.
    """
    rows: list[dict[str, Any]] = []
    first: list[list[float]] = []
    for name in args.precisions:
        opened, benchmark = open_one(argparse.Namespace(**vars(args) | {"device": "cpu"} | PRECISIONS[name]), False)
        geometry = opened.loaded.model.geometry
        methods = [method_class("none")()]
        methods.append(method_class("visiondrop").from_budget(geometry.patches * geometry.views // NINTH, geometry))
        tokens = [average_tokens(method, geometry) for method in methods]
        runs = [Run("", number, method, tokens[number]) for number, method in enumerate(methods)]
        _, scores, _ = ask(opened, benchmark, runs, args.batch_size)
        first = first or scores
        for own, base, kept in zip(scores, first, tokens, strict=True):
            equal = sum(one == other for one, other in zip(own, base, strict=True))
            row = {"precision": name, "tokens": kept, "accuracy": 100 * sum(own) / len(own)}
            rows.append(row | {"lost": 100 * (sum(base) - sum(own)) / len(own), "equal": 100 * equal / len(own)})
    return rows


def accuracy_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| precision | image tokens | accuracy | points lost | as right as the first |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        cells = [row["precision"], f"{row['tokens']:.0f}", f"{row['accuracy']:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {row['lost'] + 0.0:.2f} | {row['equal']:.2f} % |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    several = 4 + 2 * len({*args.precisions} - {"float32"})  # bytes of a weight in all models at once
    shape, cut = fitting(shape_from(args), free_bytes(torch.device("cpu")), several)
    right = accuracies(args)
    asked = (args.retain, args.text_tokens, args.new_tokens, args.repeats, args.clock)
    timed = measure_bits(shape, args.precisions, *asked)
    about = f"{machine('cpu')}; {args.clock} time; LLM {shape.layers} layers x {shape.width}, CLIP "
    about += (
        f"{shape.vision_layers} layers x {shape.vision_width}, {args.retain} image tokens, {args.text_tokens} text "
    )
    about += f"tokens, an answer of {args.new_tokens}, random weights{f'; {cut}' if cut else ''}"
    print(f"{args.model_path}\n\n{accuracy_table(right)}\n\n{about}\n\n{bits_table(timed)}")
    if args.json:
        found = {"about": about, "shape": dataclasses.asdict(shape), "model": args.model_path}
        write_text(args.json, json.dumps(found | {"accuracy": right, "speed": timed}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
