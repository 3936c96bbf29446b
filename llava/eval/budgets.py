"""What every method makes of every budget: settings, tokens in each LLM layer, operations, memory, sharing. No weights.

    python -m llava.eval.budgets
    python -m llava.eval.budgets --model-path CHECKPOINT --methods visiondrop fastv --budgets 128 64 --json table.json

Without --model-path it is LLaVA-1.5-7B: 32 layers, 576 patches. A row `N` is what `--retain N` gives, a row `paper-N`
what was published for N tokens (`--preset paper-N`). What cannot be had is in the table too, with the reason.
"""

import argparse
import json
from typing import Any

from llava.eval.curves.budget_table import as_table, row_of
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.speed.random_model import PRESETS as SIZES
from llava.files.writing import write_text
from llava.model.builder import model_geometry, prepare_tower
from llava.model.checkpoint import read_config
from llava.reduction import Geometry, available
from llava.reduction.paper import BUDGETS
from llava.reduction.schedule import DecoderShape

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.budgets", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", help="LLaVA checkpoint of which config.json is read; unset: LLaVA-1.5-7B")
    parser.add_argument("--methods", nargs="+", default=available(), choices=available(), help="what to compare")
    budget = at_least(1, 2**20)
    average = "average image tokens per LLM layer"
    parser.add_argument("--budgets", nargs="+", type=budget, default=list(BUDGETS), metavar="N", help=average)
    parser.add_argument("--text-tokens", type=at_least(1, 2**20), default=55, help="prompt tokens besides the image")
    parser.add_argument("--dtype", default="float16", choices=tuple(BYTES), help="of the KV cache")
    parser.add_argument("--json", help="also write the rows here")
    return parser


def sizes_of(args: argparse.Namespace) -> tuple[str, Geometry, DecoderShape]:
    """The model's name, what a method must fit into, and the sizes its cost depends on.

    Raises:
        InputError: for a checkpoint without a readable configuration.
    """
    if args.model_path is None:
        size = SIZES["7b"]
        shape = DecoderShape(size.layers, size.width, size.intermediate, size.width)
        return "LLaVA-1.5-7B", Geometry(layers=size.layers, patches=576), shape
    config = read_config(args.model_path)
    prepare_tower(config, args.model_path)
    return args.model_path, model_geometry(config), DecoderShape.of(config)


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    name, geometry, shape = sizes_of(args)
    asked: list[Any] = [*args.budgets, *(f"paper-{budget}" for budget in args.budgets if budget in BUDGETS)]
    rows = [
        row_of(method, budget, geometry, shape, args.text_tokens, BYTES[args.dtype])
        for method in dict.fromkeys(args.methods)
        for budget in ([geometry.most_tokens] if method == "none" else asked)
    ]
    about = f"{name}: {geometry.layers} layers, {geometry.most_tokens} image tokens and {args.text_tokens} of text; "
    about += f"KV cache in {args.dtype}"
    print(f"{about}\n\n{as_table(rows)}")
    if args.json:
        write_text(args.json, json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
