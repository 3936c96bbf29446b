"""What a part of VisionDrop is worth: variants at the same budget, answered and compared question by question.

    python -m llava.eval.ablation stages --retain 28
    python -m llava.eval.ablation contextual
    python -m llava.eval.ablation share
    python -m llava.eval.ablation layers
    python -m llava.eval.ablation ranking

`stages`: both, the encoder's alone, the LLM's alone. `contextual`: with and without. `share`: contextual tokens of all.
`layers`: where the LLM's stages stand. `ranking`: image tokens or text. Writes `.md` and `.json`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from llava.errors import InputError
from llava.eval.curve import add_benchmark_options, read_benchmark
from llava.eval.curves.ablations import PARTS, plan_variants
from llava.eval.curves.points import mean_and_margin, points_of
from llava.eval.curves.report import ABSENT, header, row, with_margin
from llava.eval.curves.runs import Run, answer_all, runnable
from llava.eval.eval_shapes import is_right
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.loading import check_trained, load_model
from llava.eval.runs.options import conversation_from
from llava.files.writing import write_text
from llava.mm_utils import get_model_name_from_path
from llava.reduction.schedule import describe


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=tuple(PARTS), help="what is changed")
    add_benchmark_options(parser)
    parser.add_argument("--retain", type=at_least(1), help="tokens per LLM layer; unset: a ninth of all tokens")
    parser.set_defaults(output=None)
    return parser


def records_of(runs: list[Run], right: list[list[bool]], truth: list[dict], geometry: Any) -> list[dict[str, Any]]:
    """A record for every variant: its settings, its accuracy, and how far it is from the first, with margins."""
    images = [one["image"] for one in truth]
    found = []
    for variant, point, answers in zip(runs, points_of(runs, right, truth), right):
        difference = [float(hit) - float(whole) for hit, whole in zip(answers, right[0])]
        settings = {"settings": describe(variant.reduction, geometry), "shared": not variant.reduction.reads_question}
        found.append(asdict(point) | settings | {"difference": mean_and_margin(difference, images)})
    return found


def as_lines(found: list[dict[str, Any]]) -> list[str]:
    """The records as a table, and each schedule in a line below."""
    lines = header(["variant", "tokens", "right answers, %", "against the first"])
    for number, one in enumerate(found):
        away = with_margin(*one["difference"], sign="+") if number else ABSENT
        lines.append(row([one["name"], f"{one['tokens']:.1f}", with_margin(one["accuracy"], one["margin"]), away]))
    return [*lines, "", *(f"{one['name']}: {one['settings']}" for one in found)]


def measure(args: argparse.Namespace) -> None:
    """Run the variants and write them down."""
    check_trained(args.model_path)
    conv_mode = conversation_from(args)
    questions, truth = read_benchmark(args)
    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    geometry = loaded.model.geometry
    runs, unreached = plan_variants(args.part, args.retain or max(1, geometry.most_tokens // 9), geometry)
    data = loaded.prepare(questions, conv_mode)
    runs, impossible = runnable(loaded, data, runs)
    if not runs:
        raise InputError((unreached + impossible)[0].reason)
    texts = answer_all(loaded, data, runs, args.batch_size, args.max_new_tokens)
    right = [[is_right(text, one["answer"]) for text, one in zip(answers, truth)] for answers in texts]
    found = records_of(runs, right, truth, geometry)
    lines = as_lines(found)
    lines += [f"{one.name} at {one.retain} is not there: {one.reason}" for one in unreached + impossible]
    output = args.output or f"figures/ablation_{args.part}"
    about = {"model": get_model_name_from_path(args.model_path), "part": args.part, "questions": len(questions)}
    whole = about | {"variants": found, "unreached": list(map(asdict, unreached + impossible))}
    write_text(f"{output}.json", json.dumps(whole, indent=1) + "\n")
    write_text(f"{output}.md", "\n".join(lines) + "\n")
    print("\n".join([*lines, "", f"written to {output}.md and .json"]))


def main() -> None:
    """The command."""
    measure(build_parser().parse_args())


if __name__ == "__main__":
    run(main)
