"""How many choices of image tokens in 16 bits are those of float32: encoder and every LLM stage, picture by picture.

    python -m llava.eval.precision --model-path CHECKPOINT --question-file QUESTIONS.jsonl --image-folder IMAGES \\
        --conv-mode vicuna_v1 --retain 32

The whole model runs in each dtype, so a choice can differ because its scores do or because an earlier choice did.
Scores and similarities are float32 in any case; what enters them is not. Checkpoints with one view per image only.
"""

import argparse
import json
import sys
from typing import Any

import torch

from llava.errors import InputError
from llava.eval.device.choices import agreement, choices
from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.loading import load_model
from llava.eval.runs.method_options import add_method_options, method_from
from llava.eval.runs.options import add_model_options, conversation_from
from llava.eval.runs.plan import image_key
from llava.eval.runs.questions import Question, check_questions
from llava.files.writing import write_text
from llava.mm_utils import get_model_name_from_path
from llava.model.builder import model_geometry, prepare_tower
from llava.model.checkpoint import read_config
from llava.model.trace import Trace
from llava.reduction import Reduction, name_of
from llava.reduction.positions import written_settings

HALVES = ("float16", "bfloat16")


@torch.no_grad()
def choices_of_all(args: argparse.Namespace, dtype: str, questions: list[Question], method: Reduction) -> list:
    """`choices` about every question, of the model loaded in a dtype."""
    again = {"conv_mode": None} if dtype in HALVES else {}  # what is to be said of it, float32 has said
    loaded = load_model(argparse.Namespace(**vars(args) | {"dtype": dtype} | again))
    if dtype not in HALVES:  # the same model again otherwise
        print(loaded.about(args, method), file=sys.stderr)
    data = loaded.prepare(questions, args.conv_mode)
    found = []
    for number in range(len(data)):
        item = data[number]
        if isinstance(item, InputError):
            raise item
        ids, pixels, size = item
        trace = Trace()
        shown = {"images": [pixels], "image_sizes": [size]}
        loaded.model(ids[None].to(loaded.model.device), reduction=method, trace=trace, logits_to_keep=1, **shown)
        found.append(choices(trace))
    return found


def one_of_each_picture(questions: list[Question], most: int) -> list[Question]:
    """The first question about each picture, in order, `most` of them at most."""
    first: dict[Any, Question] = {}
    for question in questions:
        first.setdefault(image_key(question), question)
    return list(first.values())[:most]


def compare(exact: list, other: list, stages: list[str]) -> dict[str, Any]:
    """Choices of every picture in two dtypes.

    Returns:
        `equal`: share of all choices that are float32's; `pictures_equal`: share of pictures with every choice equal;
        `stages`: share of each stage.
    """
    shares = [agreement(one, two) for one, two in zip(exact, other, strict=True)]
    means = [sum(column) / len(column) for column in zip(*shares)]
    sizes = [len(stage) for stage in exact[0]]
    return {
        "equal": sum(mean * size for mean, size in zip(means, sizes)) / sum(sizes) if any(sizes) else 1.0,
        "pictures_equal": sum(all(share == 1 for share in row) for row in shares) / len(shares),
        "stages": dict(zip(stages, means)),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The comparison of every 16-bit dtype with float32, and what it was made with."""
    choice = method_from(args)
    config = read_config(args.model_path)
    prepare_tower(config, args.model_path, args.model_base)
    geometry = model_geometry(config)
    method = choice.build(geometry)
    if geometry.views > 1:
        raise InputError(
            f"choices are compared for one view per image: '{args.model_path}' makes up to {geometry.views}; use a "
            f"checkpoint without anyres"
        )
    questions = one_of_each_picture(read_questions(args.question_file, args.image_folder), args.pictures)
    check_questions(questions)
    exact = choices_of_all(args, "float32", questions, method)
    if not exact[0]:
        raise InputError(f"choices are compared of a method that makes some: {name_of(method)} keeps all; use another")
    stages = [*(["encoder"] if len(exact[0]) > len(method.layers) else []), *(f"layer {n}" for n in method.layers)]
    halves = {name: compare(exact, choices_of_all(args, name, questions, method), stages) for name in HALVES}
    return {
        "model": get_model_name_from_path(args.model_path),
        "method": name_of(method),
        "settings": written_settings(method),
        "pictures": len(questions),
        "dtypes": halves,
    }


def report(result: dict[str, Any]) -> str:
    """The result as a table in Markdown."""
    stages = list(next(iter(result["dtypes"].values()))["stages"])
    lines = [f"| dtype | {' | '.join(stages)} | all choices | pictures all equal |"]
    lines.append(f"|---|{'--:|' * (len(stages) + 2)}")
    for name, shares in result["dtypes"].items():
        cells = [*shares["stages"].values(), shares["equal"], shares["pictures_equal"]]
        lines.append(f"| {name} | {' | '.join(f'{100 * cell:.2f} %' for cell in cells)} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.precision", description=(__doc__ or "").split("\n")[0])
    add_model_options(parser)
    parser.add_argument("--image-folder", default="", help="what the questions' image names are relative to")
    parser.add_argument("--question-file", required=True, help="JSON Lines with question_id, image and text")
    add_conv_mode(parser, "vicuna_v1")
    parser.add_argument("--pictures", type=at_least(1), default=500, help="most pictures to look at, one question each")
    parser.add_argument("--json", help="also write the shares here")
    add_method_options(parser)
    args = parser.parse_args()
    args.conv_mode = conversation_from(args)
    result = measure(args)
    print(f"{result['model']}, {result['method']} {result['settings']}, {result['pictures']} pictures\n")
    print(report(result))
    if args.json:
        write_text(args.json, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    run(main)
