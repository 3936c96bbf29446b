"""Draw how VisionDrop works: where tokens are chosen and merged, and how many are left where.

    python -m llava.eval.diagram --output figures/method.png

The numbers are those of the method's own schedule, by default for LLaVA-1.5-7B and an average of 32 tokens.
"""

from typing import Any

from llava.eval.pictures.diagram_shapes import (
    CONTEXTUAL,
    DOMINANT,
    DROPPED,
    TEXT,
    arrow,
    attention,
    box,
    heading,
    key,
    note,
    patches,
    rectangle,
    strip,
)
from llava.eval.pictures.figure import new_figure, save
from llava.eval.runs.command import Parser, at_least, run
from llava.reduction import Geometry
from llava.reduction.methods.visiondrop import VisionDrop
from llava.reduction.schedule import average_tokens, layers_per_stage

WIDTH, HEIGHT = 120, 58  # the drawing's own units
UPPER, LOWER = 42, 10  # height of the middle of the pipeline, and of the rules of a stage


def draw(method: VisionDrop, geometry: Geometry, path: str) -> None:
    """Write the PNG."""
    figure = new_figure(12, 5.8)
    axes: Any = figure.subplots()
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axes.axis("off")
    heading(axes, (0, HEIGHT), "VisionDrop: visual tokens are ranked by visual tokens, in every stage", 14)
    _pipeline(axes, method, geometry)
    axes.plot([0, WIDTH], [25.5, 25.5], color=DROPPED, linewidth=1)
    _rules(axes)
    save(figure, path)


def _pipeline(axes: Any, method: VisionDrop, geometry: Geometry) -> None:
    """Picture, encoder, projector and the LLM's runs of layers, with what flows between them."""
    patches(axes, (0, UPPER - 6.5), 13, 6)
    note(axes, (6.5, UPPER - 8), f"picture:\n{geometry.patches} patches", "center")
    arrow(axes, (13.5, UPPER), (17, UPPER))
    box(axes, (17, UPPER - 7), (15, 14), "vision\nencoder\n(CLIP)")
    note(axes, (24.5, UPPER - 8), "stage 0: what [CLS]\nattends to, keeps\n[CLS] as well", "center")
    arrow(axes, (32, UPPER), (35.5, UPPER))
    box(axes, (35.5, UPPER - 7), (4.5, 14), "projector", rotation=90)
    average = average_tokens(method, geometry)
    share = f"{average:.0f} image tokens per layer on average, {100 * average / geometry.patches:.1f} %"
    note(axes, (43 + (WIDTH - 46) / 2, UPPER + 10.5), share, "center", 11)

    runs = layers_per_stage(method, geometry.layers)
    pairs = [[method.dominant, method.contextual], *method.image_token_list]
    room, first = (WIDTH - 43) / len(runs), 1
    for number, (count, (dominant, contextual)) in enumerate(zip(runs, pairs)):
        left = 43 + number * room
        middle = left + (room - 3) / 2
        arrow(axes, (left - 3, UPPER), (left, UPPER))
        box(axes, (left, UPPER - 7), (room - 3, 14), "")
        note(axes, (middle, UPPER + 6.4), f"LLM layers {first}-{first + count - 1}", "center")
        strip(axes, (left + 1, UPPER - 1.5), room - 5, (dominant, contextual), sum(pairs[0]))
        note(axes, (middle, UPPER - 3.6), f"{dominant} + {contextual} = {dominant + contextual}", "center", 10)
        if number:
            note(axes, (left - 1.5, UPPER - 8), f"stage {number}: what image\ntokens give each other", "center")
        first += count


def _rules(axes: Any) -> None:
    """The three steps of a stage, and the meaning of the colours."""
    heading(axes, (0, 24), "One stage inside the LLM", 12)
    key(axes, (47, 23.6), ((DOMINANT, "dominant"), (CONTEXTUAL, "contextual"), (TEXT, "text"), (DROPPED, "the others")))
    attention(axes, (2, LOWER - 8), 14)
    heading(axes, (18, LOWER + 6), "1. Score", 10)
    note(
        axes,
        (18, LOWER + 3),
        "attention between image tokens:\nthe mean of each column.\nThe question takes no part, so\n"
        "an image's work serves every\nquestion about it.",
    )
    arrow(axes, (41.5, LOWER), (45, LOWER))
    heading(axes, (47, LOWER + 6), "2. Keep", 10)
    for at, score in enumerate((2, 7, 3, 9, 1, 4, 8, 2, 3, 6, 1, 2)):
        rectangle(axes, (47 + 1.6 * at, LOWER - 4), (1.3, 0.75 * score), DOMINANT if score > 5 else DROPPED)
    note(axes, (47, LOWER - 5), "the dominant ones: highest score,\nin the order they have")
    arrow(axes, (68.5, LOWER), (72, LOWER))
    heading(axes, (74, LOWER + 6), "3. Merge", 10)
    _merging(axes, 82)
    note(
        axes,
        (74, LOWER - 5),
        "the others, each into the one of a few evenly spaced targets\nwith the most similar key: "
        "contextual = target + mean of the others",
    )


def _merging(axes: Any, left: float) -> None:
    """Seven tokens of which two are targets, and where the others go."""
    joins = {1: 0, 2: 3, 4: 3, 5: 0, 6: 3}
    for at in range(7):
        colour = DROPPED if at in joins else CONTEXTUAL
        rectangle(axes, (left + 5 * at, LOWER - 3), (2.2, 2.2), colour)
    for source, goal in joins.items():
        start, end = (left + 5 * source + 1.1, LOWER - 0.6), (left + 5 * goal + 1.1, LOWER - 0.6)
        arrow(axes, start, end, CONTEXTUAL, bend=-0.3 if start > end else 0.3)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.diagram", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="figures/method.png", help="the PNG to write")
    parser.add_argument("--retain", type=at_least(1, 2**20), default=32, help="average image tokens per LLM layer")
    parser.add_argument("--layers", type=at_least(4, 512), default=32, help="layers of the LLM")
    parser.add_argument("--patches", type=at_least(1, 2**16), default=576, help="patches of a picture")
    args = parser.parse_args()
    geometry = Geometry(args.layers, args.patches)
    method = VisionDrop.from_budget(args.retain, geometry)
    method.check(geometry)
    draw(method, geometry, args.output)
    print(f"written to {args.output}")


if __name__ == "__main__":
    run(main)
