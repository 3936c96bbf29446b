"""Accuracy against image tokens: methods at several budgets on one model and one benchmark, in one go.

    python -m llava.eval.curve --output figures/shapes_accuracy
    python -m llava.eval.curve --model-path CHECKPOINT --benchmark pope --methods visiondrop fastv --output pope
    python -m llava.eval.curve --redraw figures/leaderboard.json

asks the small model of the shapes all questions of its benchmark and writes `.md`, `.json` and `.png`. A picture of
every method cannot be read: unless `--methods` says otherwise it is the paper's four, with the controls.
Each method's schedule is what `--retain` gives it. Methods that draw lots run with several seeds; the model also runs
blind, with every picture blanked, which shows what guessing from the question alone is worth. On one machine, in
float32 on a CPU and with as many threads, the numbers come out the same each time.
"""

import argparse
from typing import Any

from llava.eval.curves.asking import ask, judged
from llava.eval.curves.measured import read_boards
from llava.eval.curves.points import Point
from llava.eval.curves.report import as_json, draw, markdown
from llava.eval.curves.runs import BLIND, Unreached, plan_runs
from llava.eval.judging.opening import add_benchmark_options, open_one
from llava.eval.requirements import require
from llava.eval.runs.command import Parser, at_least, between, run
from llava.files.writing import write_text
from llava.reduction import available

# The plain model first, the controls last; methods that this list does not know stand in between.
ORDER = ("none", "visiondrop", "visionzip", "pyramiddrop")
LAST = ("downsample", "random")


def all_methods() -> list[str]:
    """Every method there is."""
    others = [name for name in available() if name not in (*ORDER, *LAST)]
    return [*ORDER, *others, *LAST]


def add_curve_options(parser: Parser, methods: list[str]) -> None:
    """Which methods at which budgets, and drawing once more."""
    parser.add_argument("--methods", nargs="+", default=methods, choices=available(), help="what to compare")
    parser.add_argument(
        "--divisors",
        nargs="+",
        type=between(1, 1e6),
        default=[3, 4.5, 9, 18],
        help="budgets: all tokens divided by these",
    )
    parser.add_argument("--seeds", type=at_least(1, 1000), default=3, help="runs of a method that draws lots")
    parser.add_argument("--redraw", metavar="JSON", help="measure nothing: draw a leaderboard's numbers once more")


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.curve", description=(__doc__ or "").split("\n")[0])
    add_benchmark_options(parser, "figures/shapes_accuracy")
    add_curve_options(parser, [*ORDER, *LAST])
    return parser


def measure(args: argparse.Namespace) -> tuple[list[Point], list[Unreached], dict[str, Any]]:
    """Points, what could not be run, and what it was measured on."""
    opened, benchmark = open_one(args)
    runs, unreached = plan_runs(opened.loaded.model.geometry, dict.fromkeys(args.methods), args.divisors, args.seeds)
    runs, scores, impossible = ask(opened, benchmark, runs, args.batch_size)
    about = opened.about | {"batch_size": args.batch_size, "metric": benchmark.kind.metric}
    about |= {"questions": len(benchmark.items), "pictures": benchmark.pictures}
    return judged(benchmark, runs, scores), unreached + impossible, about


def measured(args: argparse.Namespace) -> tuple[list[Point], list[Unreached], dict[str, Any]]:
    """The same from what a leaderboard has measured: its first benchmark, of the methods that are asked for."""
    [board, *_], about = read_boards(args.redraw)
    names = dict.fromkeys(args.methods)
    names |= {BLIND: None} if "none" in names else {}
    order = [name for method in names for name in ((method, BLIND) if method == "none" else (method,))]
    points = [point for name in dict.fromkeys(order) for point in board.points if point.name == name]
    unreached = [one for name in names for one in board.unreached if one.name == name]
    about |= {"metric": board.metric, "questions": board.questions, "pictures": board.pictures}
    return points, unreached, about


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    require("matplotlib", "the picture")
    points, unreached, about = measured(args) if args.redraw else measure(args)
    table = markdown(points, unreached)
    write_text(f"{args.output}.json", as_json(points, unreached, about) + "\n")
    write_text(f"{args.output}.md", table)
    title = f"{about['model']}: {about['questions']} questions about {about['pictures']} pictures"
    draw(points, f"{args.output}.png", title, about["metric"])
    print(f"{table}\nwritten to {args.output}.md, .json and .png")


if __name__ == "__main__":
    run(main)
