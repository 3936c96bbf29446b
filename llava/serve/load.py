"""Measure a server under load, with HTTP clients. All figures are ratios of one run.

    python -m llava.serve.load                                  # sharing, newcomer, throughput
    python -m llava.serve.load --measure newcomer --deeper 24 768
    python -m llava.serve.load --measure broken --requests 10000 --pictures 48 --max_new_tokens 4

sharing: many clients about few pictures, against one at a time without sharing. newcomer: the first token while long
answers are being made, against an idle server. throughput: answers per second against the offline runner. broken:
requests of which a third is broken or cut off by the client.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.loading import TRAINED, check_trained
from llava.serve.measures.broken import measure_broken
from llava.serve.measures.newcomer import measure_newcomer
from llava.serve.measures.sharing import measure_sharing
from llava.serve.measures.throughput import measure_throughput

QUESTIONS = "playground/shapes/questions.jsonl"
IMAGES = "playground/shapes/images"
MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "sharing": measure_sharing,
    "newcomer": measure_newcomer,
    "throughput": measure_throughput,
    "broken": measure_broken,
}
USUAL = ("sharing", "newcomer", "throughput")


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.serve.load", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--measure", nargs="+", choices=tuple(MEASURES), default=USUAL, help="what to measure")
    parser.add_argument("--model-path", default=TRAINED, help="checkpoint; unset: the small model of the shapes")
    deeper = "take a random language model of these sizes in place of the shipped one's, where the model's time counts"
    parser.add_argument("--deeper", type=at_least(1), nargs=2, metavar=("LAYERS", "WIDTH"), help=deeper)
    add_conv_mode(parser)
    parser.add_argument("--method", default="visiondrop", help="how image tokens are reduced")
    parser.add_argument("--retain", type=at_least(1), default=28, help="average image tokens per LLM layer")
    parser.add_argument("--question-file", default=QUESTIONS, help="JSON lines with image and text")
    parser.add_argument("--image-folder", default=IMAGES, help="what image names are relative to")
    parser.add_argument("--requests", type=at_least(1), default=192, help="to be answered")
    parser.add_argument("--clients", type=at_least(1), default=32, help="that ask at once")
    parser.add_argument("--pictures", type=at_least(1), default=8, help="that they ask about")
    parser.add_argument("--running", type=at_least(1), default=16, help="long answers while newcomers come")
    parser.add_argument("--newcomers", type=at_least(1), default=15, help="of which the median is told")
    parser.add_argument("--at-once", type=at_least(1), default=5, help="newcomers before idle and busy change turns")
    parser.add_argument("--long", type=at_least(1), default=1500, help="tokens of a long answer")
    parser.add_argument("--max_new_tokens", type=at_least(1), default=8, help="tokens of the others at most")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="turns of runner and server, for the throughput")
    parser.add_argument("--prefix-memory", type=at_least(0), default=8, metavar="MIB", help="of the server, for broken")
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    check_trained(args.model_path)
    with tempfile.TemporaryDirectory() as folder:
        if args.deeper is not None:
            deepen(args, Path(folder) / "deeper")
        figures = {name: MEASURES[name](args) for name in args.measure}
    for name, own in figures.items():
        print(f"\n{name}")
        for what, value in own.items():
            print(f"  {what}: {value}")
    print(json.dumps({"cores": os.cpu_count(), **figures}))


def deepen(args: argparse.Namespace, folder: Path) -> None:
    """Put a deeper random model in the place of the shipped one."""
    from llava.serve.measures.deeper import HEAD, write_deeper

    if args.model_path != TRAINED:
        raise InputError("--deeper changes the shipped model: got --model-path too; leave one out")
    layers, width = args.deeper
    if width % HEAD:
        raise InputError(
            f"--deeper takes a width of whole heads of {HEAD}: got {width}; try {width // HEAD * HEAD or HEAD}"
        )
    write_deeper(TRAINED, folder, layers, width)
    args.model_path, args.conv_mode = str(folder), args.conv_mode or "vicuna_v1"


if __name__ == "__main__":
    run(main)
