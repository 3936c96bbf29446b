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
from dataclasses import asdict
from typing import Any

from llava.errors import InputError
from llava.eval.curves.ablations import PARTS, plan_variants
from llava.eval.curves.asking import ask, judged
from llava.eval.curves.points import Point, mean_and_margin
from llava.eval.curves.report import ABSENT, header, row, with_margin
from llava.eval.curves.runs import Run
from llava.eval.judging.opening import add_benchmark_options, open_one
from llava.eval.runs.command import Parser, at_least, run
from llava.files.writing import write_text
from llava.reduction import Geometry
from llava.reduction.schedule import describe


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=tuple(PARTS), help="what is changed")
    add_benchmark_options(parser, None)
    parser.add_argument("--retain", type=at_least(1), help="tokens per LLM layer; unset: a ninth of all tokens")
    return parser


def records_of(
    runs: list[Run], scores: list[list[float]], points: list[Point], images: list[str], geometry: Geometry
) -> list[dict[str, Any]]:
    """A record for every variant: its settings, its accuracy, and how far it is from the first, with margins."""
    found = []
    for variant, point, own in zip(runs, points, scores):
        difference = [score - whole for score, whole in zip(own, scores[0])]
        settings = {"settings": describe(variant.reduction, geometry), "shared": not variant.reduction.reads_question}
        found.append(asdict(point) | settings | {"difference": mean_and_margin(difference, images)})
    return found


def as_lines(found: list[dict[str, Any]], metric: str) -> list[str]:
    """The records as a table, and each schedule in a line below."""
    lines = header(["variant", "tokens", metric, "against the first"])
    for number, one in enumerate(found):
        away = with_margin(*one["difference"], sign="+") if number else ABSENT
        lines.append(row([one["name"], f"{one['tokens']:.1f}", with_margin(one["accuracy"], one["margin"]), away]))
    return [*lines, "", *(f"{one['name']}: {one['settings']}" for one in found)]


def measure(args: argparse.Namespace) -> None:
    """Run the variants and write them down."""
    opened, benchmark = open_one(args, picture=False)
    geometry = opened.loaded.model.geometry
    runs, unreached = plan_variants(args.part, args.retain or max(1, geometry.most_tokens // 9), geometry)
    runs, scores, impossible = ask(opened, benchmark, runs, args.batch_size)
    if not runs:
        raise InputError((unreached + impossible)[0].reason)
    images = [item.image for item in benchmark.items]
    found = records_of(runs, scores, judged(benchmark, runs, scores), images, geometry)
    lines = as_lines(found, benchmark.kind.metric)
    lines += [f"{one.name} at {one.retain} is not there: {one.reason}" for one in unreached + impossible]
    output = args.output or f"figures/ablation_{args.part}"
    about = opened.about | {"part": args.part, "questions": len(benchmark.items), "metric": benchmark.kind.metric}
    whole = about | {"variants": found, "unreached": list(map(asdict, unreached + impossible))}
    write_text(f"{output}.json", json.dumps(whole, indent=1) + "\n")
    write_text(f"{output}.md", "\n".join(lines) + "\n")
    print("\n".join([*lines, "", f"written to {output}.md and .json"]))


def main() -> None:
    """The command."""
    measure(build_parser().parse_args())


if __name__ == "__main__":
    run(main)
