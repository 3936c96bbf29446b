"""The paper's argument, examined: what text and image tokens look at in each LLM layer, and what ranking by them costs.

    python -m llava.eval.attention --device cpu --dtype float32 --every 10 --output figures/attention

For each layer: how much text looks at the image, and at which places in its row of tokens (the causal misalignment);
how many of the top tokens by the last prompt token, PyramidDrop's ranking, are top by the image tokens, VisionDrop's
(the semantic one); and the maps of both side by side (the spatial one). Then the controlled pair: PyramidDrop's
schedule with either ranking, on the same questions. An image token is seen by those after it only, so that the image's
own ranking leans towards early places by itself. Writes `.md`, `.json` and `.png`.

Nothing is dropped while it looks. Batches are small: a layer's attention of a batch from text and image tokens is there
for a moment, and means over the rows that look are all that is kept.
"""

import argparse
import json
from dataclasses import asdict
from math import isqrt

import torch

from llava.errors import InputError
from llava.eval.curves.asking import ask, judged
from llava.eval.curves.points import Point, mean_and_margin
from llava.eval.curves.report import header, row, with_margin
from llava.eval.curves.runs import Run
from llava.eval.judging.opening import Benchmark, Opened, add_benchmark_options, open_one
from llava.eval.misalignment.numbers import Layer
from llava.eval.misalignment.probe import Probe, Rows
from llava.eval.misalignment.report import as_table, draw
from llava.eval.runs.command import Parser, at_least, between, run
from llava.eval.runs.inputs import PreparedQuestions, batches, collate
from llava.eval.runs.loading import Loaded
from llava.eval.runs.options import MOST_ROWS
from llava.files.writing import write_text
from llava.reduction import Geometry, resolve
from llava.reduction.ranking import TEXT, VISUAL
from llava.reduction.schedule import average_tokens

MAPS = 6  # layers of which maps are drawn


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.attention", description=(__doc__ or "").split("\n")[0])
    add_benchmark_options(parser, "figures/attention")
    parser.add_argument("--bins", type=at_least(4, 1024), default=16, help="parts of the row of image tokens")
    parser.add_argument("--top", type=between(1e-6, 1), default=1 / 9, help="share of the image tokens that is the top")
    parser.add_argument("--look-batch", type=at_least(1, MOST_ROWS), default=8, help="questions looked at together")
    parser.add_argument("--retain", type=at_least(1), help="of the pair; unset: all tokens / 3")
    parser.add_argument("--pair", action=argparse.BooleanOptionalAction, default=True, help="run the controlled pair")
    return parser


@torch.inference_mode()
def look(loaded: Loaded, data: PreparedQuestions, batch: int, bins: int, top: float) -> tuple[list[Layer], list[Rows]]:
    """Every layer's sums over all questions, and what was seen of the first one.

    Raises:
        InputError: for a picture that cannot be read, or a language model of a single layer.
    """
    count = loaded.model.geometry.layers
    if count < 2:
        raise InputError(f"the language model must have at least 2 layers: got {count}; choose another checkpoint")
    layers = [Layer(number, bins) for number in range(count)]
    first: list[Rows] = []
    for items in batches(data, 0, batch, workers=0):
        spoilt = next((item for item in items if isinstance(item, InputError)), None)
        if spoilt is not None:
            raise spoilt
        probe = Probe.of(count)
        inputs = collate(items)
        inputs["input_ids"] = inputs["input_ids"].to(loaded.model.device)
        loaded.model.generate(
            **inputs, reduction=probe, do_sample=False, temperature=None, top_p=None, top_k=None, max_new_tokens=1,
            pad_token_id=loaded.padding,
        )  # fmt: skip
        for rows in probe.seen:
            layers[rows.layer].add(rows, top)
        first = first or probe.seen[:count]
    return layers, first


def pair_of(geometry: Geometry, retain: int) -> list[Run]:
    """PyramidDrop's schedule twice, ranked by text and by image tokens; no other setting differs."""
    runs = []
    for ranking in (TEXT, VISUAL):
        method = resolve({"method": "pyramiddrop", "retain": retain, "ranking": ranking}, geometry)
        runs.append(Run(f"pyramiddrop ranked by {ranking}", retain, method, average_tokens(method, geometry)))
    return runs


def compare(
    opened: Opened, benchmark: Benchmark, runs: list[Run], args: argparse.Namespace
) -> tuple[list[Point], tuple[float, float]]:
    """The pair's points, and by how much `visual` is above `text`, question by question, with half of its interval."""
    runs, scores, impossible = ask(opened, benchmark, runs, args.batch_size)
    if impossible:
        raise InputError(impossible[0].reason)
    by_text, by_image = scores
    difference = [image - text for image, text in zip(by_image, by_text)]
    images = [item.image for item in benchmark.items]
    return judged(benchmark, runs, scores), mean_and_margin(difference, images)


def pair_lines(points: list[Point], difference: tuple[float, float], metric: str) -> list[str]:
    """The pair as a table."""
    lines = header(["method", "tokens", metric])
    lines += [row([one.name, f"{one.tokens:.1f}", with_margin(one.accuracy, one.margin)]) for one in points]
    return [*lines, "", f"Ranked by image tokens, of the same questions: {with_margin(*difference, sign='+')}"]


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    opened, benchmark = open_one(args)
    geometry, asked = opened.loaded.model.geometry, len(benchmark.items)
    pair = pair_of(geometry, args.retain or max(1, geometry.most_tokens // 3)) if args.pair else []
    sums, first = look(opened.loaded, opened.prepared(benchmark), args.look_batch, args.bins, args.top)
    layers = [layer.as_record() for layer in sums]
    about = opened.about | {"questions": asked, "top": args.top, "layers": layers}
    lines = [f"{opened.name}, {asked} questions; top: {100 * args.top:.1f} % of the image tokens", ""]
    lines += as_table(layers)
    if pair:
        points, difference = compare(opened, benchmark, pair, args)
        about |= {"pair": list(map(asdict, points)), "visual_above_text": difference}
        lines += ["", *pair_lines(points, difference, benchmark.kind.metric)]
    write_text(f"{args.output}.json", json.dumps(about, indent=1) + "\n")
    write_text(f"{args.output}.md", "\n".join(lines) + "\n")
    tokens = first[0].lengths[0]
    side = isqrt(tokens) if isqrt(tokens) ** 2 == tokens else None
    step = max(1, -(-len(first) // MAPS))
    draw(layers, first[step // 2 :: step], side, f"{args.output}.png", f"{opened.name}, {asked} questions")
    print("\n".join([*lines, "", f"written to {args.output}.md, .json and .png"]))


if __name__ == "__main__":
    run(main)
