"""See which parts of a picture a method keeps, stage by stage, and what it merges into what.

    python -m llava.eval.visualize --model-path CHECKPOINT --image photo.png --question "What is it?" --retain 64 \\
        --method visiondrop --compare visionzip,pyramiddrop --output kept.png

Without --model-path it is the small model of the shapes that looks. A PNG with a row for every method and a column
for every stage: the scores that the stage went by, and what it left.
"""

import argparse
import sys
import textwrap

import torch
from PIL import Image

from llava.errors import InputError
from llava.eval.pictures.canvas import canvas_of
from llava.eval.pictures.kept_figure import MethodRow, draw
from llava.eval.pictures.kept_tokens import stages_of
from llava.eval.results.table import UNREDUCED
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.inputs import collate
from llava.eval.runs.loading import TRAINED, Loaded, check_trained, load_model
from llava.eval.runs.method_options import MethodChoice, add_method_options, method_from
from llava.eval.runs.options import MOST_NEW_TOKENS, MOST_SEED, add_model_options, conversation_from
from llava.eval.runs.questions import Question
from llava.mm_utils import open_image
from llava.model.builder import model_geometry, prepare_tower
from llava.model.checkpoint import read_config
from llava.model.trace import Trace
from llava.reduction import Reduction, method_class, name_of
from llava.reduction.schedule import layers_per_stage

SHORT_ANSWER = "Answer the question using a single word or phrase."
LINE = 24  # characters of a line beside a method's row


def methods_to_show(args: argparse.Namespace) -> list[MethodChoice]:
    """The method that the flags describe, then those of --compare at the same budget.

    Raises:
        InputError: as `method_from`; for an unknown name, and for --compare without a budget.
    """
    choices = [method_from(args)]
    for name in filter(None, (args.compare or "").split(",")):
        kind = method_class(name)
        if name == UNREDUCED:
            choices.append(MethodChoice(name, kind(), None))
        elif args.retain is None and args.preset is None:
            raise InputError(f"--compare needs a budget that it gives to every method: got {name}; add --retain")
        else:
            shared = {"seed": args.seed} if "seed" in kind.__dataclass_fields__ else {}
            choices.append(MethodChoice(name, None, args.retain, shared, args.preset))
    return choices


@torch.inference_mode()
def row_of(loaded: Loaded, picture: Image.Image, method: Reduction, args: argparse.Namespace) -> MethodRow:
    """Ask the question under one method and see what it kept."""
    model, trace = loaded.model, Trace()
    message = args.question + (f"\n{SHORT_ANSWER}" if args.short else "")
    asked = Question("--question", message, lambda: picture, {})
    ids, pixels, size = loaded.prepare([asked], args.conv_mode)[0]
    inputs = collate([(ids, pixels, size)])
    inputs["input_ids"] = inputs["input_ids"].to(model.device)
    stops = loaded.stops(args.conv_mode)
    output = model.generate(
        **inputs, reduction=method, trace=trace, do_sample=False, temperature=None, top_p=None, top_k=None,
        max_new_tokens=args.max_new_tokens, pad_token_id=loaded.padding,
        **stops.arguments(loaded.tokenizer),
    )  # fmt: skip
    text = stops.cut(loaded.tokenizer.batch_decode(output, skip_special_tokens=True)[0])
    answer = "".join(letter if letter.isprintable() else "?" for letter in text)
    tower, views = model.get_vision_tower(), len(pixels) if pixels.ndim == 4 else 1
    stages = stages_of(trace, views, tower.num_patches, tower.select_feature == "cls_patch")
    runs = layers_per_stage(method, model.config.num_hidden_layers)
    average = sum(run * len(stage.tokens) for run, stage in zip(runs, stages)) / sum(runs)
    lines = [f"{average:.1f} tokens on average", f"answer: {answer}"]
    return MethodRow(name_of(method), "\n".join(textwrap.fill(line, LINE) for line in lines), stages)


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m llava.eval.visualize", description=(__doc__ or "").split("\n")[0])
    add_model_options(parser)
    parser.set_defaults(model_path=TRAINED)
    parser.add_argument("--image", required=True, help="the picture")
    parser.add_argument("--question", required=True, help="what is asked about it")
    parser.add_argument(
        "--short", action=argparse.BooleanOptionalAction, default=True, help="ask for a single word or phrase"
    )
    parser.add_argument("--output", required=True, help="the PNG to write")
    parser.add_argument("--compare", help="further methods, with commas between, at the same --retain or --preset")
    add_conv_mode(parser, "vicuna_v1")
    parser.add_argument("--max_new_tokens", type=at_least(1, MOST_NEW_TOKENS), default=16, help="limit of the answer")
    parser.add_argument("--seed", type=at_least(-MOST_SEED, MOST_SEED), default=0, help="of the method random")
    add_method_options(parser)
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    check_trained(args.model_path)
    choices, picture = methods_to_show(args), open_image(args.image)
    args.conv_mode = conversation_from(args)
    config = read_config(args.model_path)
    prepare_tower(config, args.model_path, args.model_base)
    methods = [choice.build(model_geometry(config)) for choice in choices]

    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    rows = [row_of(loaded, picture, method, args) for method in methods]
    canvas = canvas_of(picture.size, loaded.model.config, loaded.processor)
    side = loaded.model.get_vision_tower().num_patches_per_side
    draw(picture, canvas, side, rows, textwrap.fill(args.question, 100), args.output)
    for row in rows:
        kept = ", ".join(str(len(stage.tokens)) for stage in row.stages)
        print(f"{row.name}: {kept} tokens; {' '.join(row.about.split())}")
    print(f"written to {args.output}")


if __name__ == "__main__":
    run(main)
