"""What a batch of questions about one picture holds, with a copy of its prefix in every row and with one for all.

    python -m llava.eval.batch_memory --preset 7b --dtype bfloat16

Bytes of keys and values are counted for the whole model. Beside them one layer's attention of a new token over copies,
and over one prefix joined with each row's own tokens, as the kernel `shared_prefix` does it, timed. With `--ask` also
the whole `ask` of a model of random weights, which must fit into memory twice.
"""

import json

from llava.eval.benchmark import budgets_from
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES, device_from, dtype_from
from llava.eval.speed.asked_batches import asking_table, measure_asking
from llava.eval.speed.options import add_size_options, add_timing_options, shape_from
from llava.eval.speed.random_model import machine
from llava.eval.speed.shared_prefix import batches_table, measure_batches
from llava.files.writing import write_text


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.batch_memory", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", nargs="+", type=at_least(1), default=[32, 256], help="questions about one picture")
    parser.add_argument("--retain", type=at_least(1), nargs="*", default=[32], help="VisionDrop's budgets")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    add_timing_options(parser)
    parser.add_argument("--ask", action="store_true", help="also ask a model of random weights, both ways")
    parser.add_argument("--json", help="also write the rows here")
    add_size_options(parser)
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    device, shape = device_from(args), shape_from(args)
    dtype = dtype_from(args, device)
    measured = shape, device, dtype, budgets_from(args, shape), args.rows, args.repeats, args.clock
    found = measure_batches(*measured)
    about = f"{machine(device)}; {str(dtype).removeprefix('torch.')}, {args.clock} time; LLM {shape.layers} layers x "
    about += f"{shape.width}"
    print(f"{about}\n\n{batches_table(found)}")
    asked = measure_asking(*measured) if args.ask else []
    if asked:
        print(f"\n{asking_table(asked)}")
    if args.json:
        write_text(args.json, json.dumps({"about": about, "rows": found, "asked": asked}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
