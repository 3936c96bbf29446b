"""Accuracy against image tokens: every method at several budgets on one model and one benchmark, in one go.

    python -m llava.eval.curve --output figures/shapes_accuracy

asks the small model of the shapes all questions of its benchmark and writes `.md`, `.json` and `.png`.
Each method's schedule is what `--retain` gives it. Methods that draw lots run with several seeds; the model also runs
blind, with every picture blanked, which shows what guessing from the question alone is worth. On one machine, in
float32 on a CPU and with as many threads, the numbers come out the same each time.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from llava.eval.benchmarks.answers import check_known
from llava.eval.benchmarks.shapes import FOLDER, read_truth
from llava.eval.curves.points import points_of
from llava.eval.curves.report import as_json, draw, markdown
from llava.eval.curves.runs import answer_all, plan_runs, runnable
from llava.eval.eval_shapes import is_right
from llava.eval.model_vqa_loader import read_questions
from llava.eval.requirements import require
from llava.eval.runs.command import Parser, at_least, between, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.loading import TRAINED, check_trained, load_model
from llava.eval.runs.options import MOST_NEW_TOKENS, MOST_ROWS, add_model_options, conversation_from
from llava.eval.runs.questions import Question, check_questions
from llava.files.writing import write_text
from llava.mm_utils import get_model_name_from_path
from llava.reduction import available

# The plain model first, the control last; methods that this list does not know stand in between.
ORDER = ("none", "visiondrop", "visionzip", "pyramiddrop")


def all_methods() -> list[str]:
    """Every method there is."""
    others = [name for name in available() if name not in (*ORDER, "random")]
    return [*ORDER, *others, "random"]


def every_nth_picture(records: Iterable[dict[str, Any]], step: int) -> list[Any]:
    """The ids of the questions about every `step`-th picture, in their order."""
    records = list(records)
    pictures = list(dict.fromkeys(record["image"] for record in records))
    chosen = set(pictures[::step])
    return [str(record["question_id"]) for record in records if record["image"] in chosen]


def read_benchmark(args: argparse.Namespace) -> tuple[list[Question], list[dict[str, Any]]]:
    """The questions to ask and the records of their right answers, in the order of the question file."""
    questions, truth = read_questions(args.question_file, args.image_folder), read_truth(args.annotation_file)
    asked = [str(question.head["question_id"]) for question in questions]
    check_known(asked, truth, args.question_file, args.annotation_file)
    chosen = set(every_nth_picture((truth[question_id] for question_id in asked), args.every))
    questions = [question for name, question in zip(asked, questions) if name in chosen]
    check_questions(questions)
    return questions, [truth[str(question.head["question_id"])] for question in questions]


def add_benchmark_options(parser: Parser) -> None:
    """Which model is asked which questions, how they are put together, and where to write."""
    add_model_options(parser)
    parser.set_defaults(model_path=TRAINED)
    parser.add_argument("--question-file", default=f"{FOLDER}/questions.jsonl", help="LLaVA's question file")
    parser.add_argument("--annotation-file", default=f"{FOLDER}/answers.jsonl", help="the right answers")
    parser.add_argument("--image-folder", default=f"{FOLDER}/images", help="what image names are relative to")
    add_conv_mode(parser, "vicuna_v1")
    parser.add_argument("--every", type=at_least(1), default=1, help="use every n-th picture only")
    parser.add_argument("--batch-size", type=at_least(1, MOST_ROWS), default=64, help="questions answered together")
    parser.add_argument("--max_new_tokens", type=at_least(1, MOST_NEW_TOKENS), default=8, help="limit of an answer")
    parser.add_argument("--output", default="figures/shapes_accuracy", help="stem of the .md, .json and .png to write")


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.curve", description=(__doc__ or "").split("\n")[0])
    add_benchmark_options(parser)
    parser.add_argument("--methods", nargs="+", default=all_methods(), choices=available(), help="what to compare")
    parser.add_argument(
        "--divisors",
        nargs="+",
        type=between(1, 1e6),
        default=[3, 4.5, 9, 18],
        help="budgets: all tokens divided by these",
    )
    parser.add_argument("--seeds", type=at_least(1, 1000), default=3, help="runs of a method that draws lots")
    return parser


def measure(args: argparse.Namespace) -> None:
    """Run everything and write it down."""
    require("matplotlib", "the picture")
    check_trained(args.model_path)
    conv_mode = conversation_from(args)
    questions, records = read_benchmark(args)
    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    runs, unreached = plan_runs(loaded.model.geometry, dict.fromkeys(args.methods), args.divisors, args.seeds)
    data = loaded.prepare(questions, conv_mode)
    runs, impossible = runnable(loaded, data, runs)
    unreached += impossible
    texts = answer_all(loaded, data, runs, args.batch_size, args.max_new_tokens)
    right = [[is_right(text, record["answer"]) for text, record in zip(answers, records)] for answers in texts]
    points = points_of(runs, right, records)

    name = get_model_name_from_path(args.model_path)
    about = {"model": name, "questions": len(questions), "pictures": len({record["image"] for record in records})}
    about |= {"dtype": str(loaded.model.dtype).removeprefix("torch."), "batch_size": args.batch_size}
    table = markdown(points, unreached)
    write_text(f"{args.output}.json", as_json(points, unreached, about) + "\n")
    write_text(f"{args.output}.md", table)
    draw(points, f"{args.output}.png", f"{name}: {len(questions)} questions about {about['pictures']} pictures")
    print(f"{table}\nwritten to {args.output}.md, .json and .png")


def main() -> None:
    """The command."""
    measure(build_parser().parse_args())


if __name__ == "__main__":
    run(main)
