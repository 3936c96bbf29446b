"""What commands that measure models of random weights ask for alike: the size of the model, and how time is taken."""

import argparse
import dataclasses

from llava.eval.runs.command import Parser, at_least
from llava.eval.speed.clock import CLOCKS
from llava.eval.speed.random_model import PRESETS, Shape


def add_size_options(parser: Parser, preset: str = "model size", sizes: str = "of the model, over the preset") -> None:
    """`--preset`, and every size of a `Shape` by its name. The two texts are what `--help` says of them."""
    parser.add_argument("--preset", default="small", choices=tuple(PRESETS), help=preset)
    for size in dataclasses.fields(Shape):
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=at_least(1), help=sizes)


def add_timing_options(parser: Parser, repeats: int = 5) -> None:
    """`--repeats` and `--clock`."""
    parser.add_argument("--repeats", type=at_least(1), default=repeats, help="runs a median is taken of")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: processor time, for a machine in use")


def shape_from(args: argparse.Namespace) -> Shape:
    """The preset with the sizes that were given."""
    names = [size.name for size in dataclasses.fields(Shape)]
    return dataclasses.replace(
        PRESETS[args.preset], **{name: getattr(args, name) for name in names if getattr(args, name) is not None}
    )
