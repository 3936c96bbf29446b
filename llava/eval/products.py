"""The speed of a decoder layer's matrix products by the number of tokens, as they are, joined, and laid out for oneDNN.

    python -m llava.eval.products --preset 7b --dtype bfloat16

On a CPU. It says how much of a counted speed-up fewer tokens can bring, and what joining or packing would add.
"""

import json

import torch

from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES
from llava.eval.speed.options import add_size_options, add_timing_options, shape_from
from llava.eval.speed.products import measure_products, products_table
from llava.eval.speed.random_model import machine
from llava.files.writing import write_text

# A new token; a batch of them; a prompt with 19 to 48 image tokens; and with all.
ROWS = [16, 74, 103, 631]


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.products", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", nargs="+", type=at_least(2), default=ROWS, help="tokens; one alone is always timed")
    parser.add_argument("--dtype", default="float32", choices=[name for name in DTYPES if name != "auto"], help="dtype")
    add_timing_options(parser)
    parser.add_argument("--json", help="also write the rows here")
    add_size_options(parser)
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    shape = shape_from(args)
    found = measure_products(shape, args.rows, DTYPES[args.dtype] or torch.float32, args.repeats, args.clock)
    about = f"{machine('cpu')}; {args.dtype}, {args.clock} time; layers of {shape.width} and {shape.intermediate}; "
    about += "GFLOP/s"
    print(f"{about}\n\n{products_table(found)}")
    if args.json:
        write_text(args.json, json.dumps({"about": about, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
