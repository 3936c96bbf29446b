"""All methods at equal budgets on one checkpoint: accuracy with error bars, beside what papers have published.

    python -m llava.eval.leaderboard --device cpu --dtype float32 --output figures/leaderboard
    python -m llava.eval.leaderboard --model-path CHECKPOINT --benchmark gqa pope mme textvqa --output board
    python -m llava.eval.leaderboard --redraw figures/leaderboard.json
    python -m llava.eval.leaderboard --methods none downsample random my_method --join figures/leaderboard.json

asks the small model of the shapes all 2119 questions under every method (`--every 20` asks a twentieth of the
pictures) and writes `.md`, `.json` and a `.png` for each benchmark. Benchmarks by name have the scripts' files below
`--data` and are scored as their scorers do; others are given as lists: question files in LLaVA's form, right answers,
folders of images and rules, one of each or one for all. Budgets are average image tokens per LLM layer (`--retain`):
what computes, and not what a paper's table calls them. Published numbers stand in tables of their own.
"""

import json
from dataclasses import asdict
from typing import Any

from llava.eval.curve import add_curve_options, all_methods
from llava.eval.curves.asking import ask, judged
from llava.eval.curves.beyond import beyond_control
from llava.eval.curves.board import Board, as_markdown
from llava.eval.curves.board_picture import draw_board
from llava.eval.curves.joining import check_joined, join_boards
from llava.eval.curves.measured import read_boards
from llava.eval.curves.published_numbers import FAMILIES, SOURCE
from llava.eval.curves.runs import plan_runs
from llava.eval.judging.opening import Benchmark, Opened, add_benchmark_options, open_all
from llava.eval.requirements import require
from llava.eval.runs.command import Parser, run
from llava.files.writing import write_text


def build_parser() -> Parser:
    """The command's options: the curve's, and several benchmarks."""
    parser = Parser(prog="python -m llava.eval.leaderboard", description=(__doc__ or "").split("\n")[0])
    add_benchmark_options(parser, "figures/leaderboard", several=True)
    add_curve_options(parser, all_methods())
    parser.add_argument("--join", metavar="JSON", help="put what is measured beside an earlier run's other methods")
    return parser


def measure(args: Any, opened: Opened, benchmark: Benchmark) -> Board:
    """One benchmark under every method and budget."""
    geometry = opened.loaded.model.geometry
    runs, unreached = plan_runs(geometry, dict.fromkeys(args.methods), args.divisors, args.seeds)
    runs, scores, impossible = ask(opened, benchmark, runs, args.batch_size)
    return Board(
        benchmark.name,
        len(benchmark.items),
        benchmark.pictures,
        judged(benchmark, runs, scores),
        beyond_control(runs, scores, [item.image for item in benchmark.items]),
        unreached + impossible,
        benchmark.kind.metric,
        benchmark.kind.official_name,
    )


def measure_all(args: Any) -> tuple[list[Board], dict[str, Any]]:
    """Every benchmark, beside what an earlier run measured if one is to be joined; and what is said of the model."""
    if args.join:
        check_joined(args.methods)
        before, said = read_boards(args.join)
    opened = open_all(args)
    about = opened.about | {"batch_size": args.batch_size}
    boards = [measure(args, opened, benchmark) for benchmark in opened.benchmarks]
    return (join_boards(before, boards, (said, about), all_methods()) if args.join else boards), about


def write(boards: list[Board], about: dict[str, Any], output: str) -> str:
    """Write the three kinds of files; returns the tables."""
    table = as_markdown(boards, about)
    published = {"source": SOURCE, "families": [asdict(family) for family in FAMILIES]}
    whole = about | {"benchmarks": [asdict(board) for board in boards], "published": published}
    write_text(f"{output}.json", json.dumps(whole, indent=1) + "\n")
    write_text(f"{output}.md", table)
    for board in boards:
        draw_board(board, f"{output}_{board.name}.png" if len(boards) > 1 else f"{output}.png", about["model"])
    return table


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    if args.redraw:
        require("matplotlib", "the picture")
        boards, about = read_boards(args.redraw)
    else:
        boards, about = measure_all(args)
    print(f"{write(boards, about, args.output)}\nwritten to {args.output}.md, .json and .png")


if __name__ == "__main__":
    run(main)
