"""What a reduction saves and costs on transformers' Qwen2.5-VL, against what counting allows.

    python -m llava.eval.hf_cost --retain 0.111 0.333 --clock cpu

The model has random weights. A call is the prefill of one prompt: tower, LLM, head at the last token. Layers are the
LLM's; own work is what a reduced call does besides the model's parts, less what an unreduced call does so, as a share
of the unreduced call. Calls are timed in turn and times are medians of one run on one machine; compare rows, not runs.
On a GPU each part is waited for before the next begins.
"""

import argparse
import dataclasses
import json

import llava.hf
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.options import DTYPES, device_from, dtype_from
from llava.eval.speed.hf_cost import CLOCKS, measure, measure_sharing
from llava.eval.speed.hf_model import HfShape, prompt_of, random_qwen
from llava.eval.speed.random_model import machine
from llava.files.writing import write_text


def share(text: str) -> float:
    """An argparse type: a share of a picture's tokens."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a share above 0 and below 1: got {text[:40]!r}")
    return value


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.hf_cost", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    methods = llava.hf.methods("Qwen2_5_VLForConditionalGeneration")
    parser.add_argument("--methods", nargs="+", default=["visiondrop", "visionzip"], choices=methods, help="which")
    parser.add_argument(
        "--retain", nargs="+", type=share, default=[0.333, 0.111], help="shares of the picture's tokens"
    )
    parser.add_argument("--image-tokens", type=at_least(16, 10**5), default=576, help="of the picture, about")
    parser.add_argument("--text-tokens", type=at_least(32, 10**5), default=52, help="prompt tokens besides the picture")
    parser.add_argument("--questions", type=at_least(1, 1000), default=8, help="asked about one picture, shared or not")
    parser.add_argument("--repeats", type=at_least(1), default=5, help="runs a median is taken of")
    parser.add_argument("--clock", default="wall", choices=tuple(CLOCKS), help="cpu: for a machine in use")
    parser.add_argument("--json", help="also write the rows here")
    for size in dataclasses.fields(HfShape):
        kind, name = at_least(1, 10**6), size.name.replace("_", "-")
        parser.add_argument(f"--{name}", type=kind, default=size.default, help="of the model")
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    device = device_from(args)
    dtype = dtype_from(args, device)
    shape = HfShape(**{size.name: getattr(args, size.name) for size in dataclasses.fields(HfShape)})
    model = random_qwen(shape, device, dtype)
    given = prompt_of(model, args.image_tokens, args.text_tokens)
    named = [name for name in dict.fromkeys(args.methods) if name != "none"]
    reduced = {f"{name} {kept:g}": llava.hf.reduce(model, name, retain=kept) for name in named for kept in args.retain}
    rows = measure(model, reduced, given, args.repeats, args.clock)
    about = f"{machine(device)}; {str(dtype).removeprefix('torch.')}, {args.clock} time; Qwen2.5-VL of random weights, "
    about += f"LLM {shape.layers} layers x {shape.width}, tower {shape.vision_layers} x {shape.vision_width}, "
    about += f"{int(rows[0]['tokens'])} image tokens, {args.text_tokens} of text"
    lines = [
        f"| {row['method']} | {row['tokens']:.0f} | {row['call_ms']:.0f} | {row['call_faster']:.2f}x "
        f"| {row['layers_faster']:.1f}x | {row['layers_fewer']:.1f}x | {row['own_ms']:.0f} "
        f"| {100 * row['own_share']:.1f} % |"
        for row in rows
    ]
    columns = (
        "method | image tokens per layer | call ms | faster | layers faster | counted | own ms | of unreduced call"
    )
    print("\n".join([about, "", f"| {columns} |", "|---|" + "--:|" * 7, *lines]))
    shared = {}
    for name, one in reduced.items():
        if not one.reduction.reads_question:
            alone, together = measure_sharing(one, given, args.questions, args.repeats, args.clock)
            shared[name] = {"alone_ms": alone, "shared_ms": together}
            print(
                f"\n{name}: {args.questions} questions about one picture take {alone:.0f} ms one at a time, "
                f"{together:.0f} ms with encode_image and ask: {alone / together:.1f}x"
            )
    if args.json:
        write_text(args.json, json.dumps({"about": about, "rows": rows, "shared": shared}, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
