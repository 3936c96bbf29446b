"""All methods at equal budgets on one checkpoint: accuracy with error bars, beside what papers have published.

    python -m llava.eval.leaderboard --device cpu --dtype float32 --output figures/leaderboard

asks the small model of the shapes all 2119 questions under every method (`--every 20` asks a twentieth of the
pictures) and writes `.md`, `.json` and a `.png` for each benchmark. Several benchmarks are given as lists: question
files in LLaVA's form, files of right answers in the shapes' form (question_id, image, category, answer), folders of
images and rules, one of each or one for all. Budgets are average image tokens per LLM layer (`--retain`): what
computes, and not what a paper's table calls them. Published numbers stand in tables of their own.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llava.conversation import Conversation
from llava.errors import InputError
from llava.eval.curve import build_parser as curve_parser
from llava.eval.curve import read_benchmark
from llava.eval.curves.beyond import beyond_control
from llava.eval.curves.board import Board, as_markdown, draw_board
from llava.eval.curves.points import points_of
from llava.eval.curves.published_numbers import FAMILIES, SOURCE
from llava.eval.curves.runs import answer_all, plan_runs, runnable
from llava.eval.eval_pope import says_yes
from llava.eval.eval_shapes import is_right
from llava.eval.requirements import require
from llava.eval.runs.command import Parser, run
from llava.eval.runs.loading import Loaded, check_trained, load_model
from llava.eval.runs.options import conversation_from
from llava.files.writing import write_text
from llava.mm_utils import get_model_name_from_path

# When an answer is right: to the letter, or yes and no as POPE reads them.
RULES: dict[str, Callable[[str, str], bool]] = {
    "exact": is_right,
    "yes-no": lambda text, answer: says_yes(text) == (answer.strip().lower() == "yes"),
}
LISTS = ("question_file", "annotation_file", "image_folder", "rule")


def build_parser() -> Parser:
    """The command's options: the curve's, and several benchmarks."""
    parser = curve_parser()
    parser.prog, parser.description = "python -m llava.eval.leaderboard", (__doc__ or "").split("\n")[0]
    for action in parser._actions:
        if action.dest in LISTS:
            action.nargs, action.default = "+", [action.default]
    parser.add_argument("--rule", nargs="+", choices=tuple(RULES), default=["exact"], help="when an answer is right")
    parser.set_defaults(output="figures/leaderboard")
    return parser


def benchmarks_of(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The options once for each benchmark, each with one file, folder and rule, and its `name`.

    Raises:
        InputError: where the lists are of different lengths and not of one, or two benchmarks have one name.
    """
    count = len(args.question_file)
    for key in LISTS:
        given = getattr(args, key)
        if len(given) not in (1, count):
            raise InputError(
                f"--{key.replace('_', '-')} must come once, or once for each question file: got {len(given)}, "
                f"expected {count}"
            )
    each = [
        argparse.Namespace(**vars(args) | {key: (getattr(args, key) * count)[at] for key in LISTS})
        for at in range(count)
    ]
    for one in each:
        path = Path(one.question_file)
        one.name = path.resolve().parent.name if path.stem == "questions" else path.stem
    names = [one.name for one in each]
    if len(set(names)) < count:
        raise InputError(f"benchmarks need different names, those of their question files: got {', '.join(names)}")
    return each


def measure(args: argparse.Namespace, loaded: Loaded, conv_mode: str | Conversation) -> Board:
    """One benchmark under every method and budget."""
    questions, records = read_benchmark(args)
    runs, unreached = plan_runs(loaded.model.geometry, dict.fromkeys(args.methods), args.divisors, args.seeds)
    data = loaded.prepare(questions, conv_mode)
    runs, impossible = runnable(loaded, data, runs)
    texts = answer_all(loaded, data, runs, args.batch_size, args.max_new_tokens)
    rule = RULES[args.rule]
    right = [[rule(text, record["answer"]) for text, record in zip(answers, records)] for answers in texts]
    images = [record["image"] for record in records]
    return Board(
        args.name,
        len(questions),
        len(set(images)),
        points_of(runs, right, records),
        beyond_control(runs, right, images),
        unreached + impossible,
    )


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
    require("matplotlib", "the picture")
    check_trained(args.model_path)
    each = benchmarks_of(args)
    conv_mode = conversation_from(args)
    for one in each:
        read_benchmark(one)  # a fault in the last one's files is found before the first is asked
    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    boards = [measure(one, loaded, conv_mode) for one in each]
    about = {"model": get_model_name_from_path(args.model_path), "batch_size": args.batch_size}
    about |= {"dtype": str(loaded.model.dtype).removeprefix("torch.")}
    print(f"{write(boards, about, args.output)}\nwritten to {args.output}.md, .json and .png")


if __name__ == "__main__":
    run(main)
