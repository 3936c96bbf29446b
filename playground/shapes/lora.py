"""The example of docs/training.md, whole: the shipped model learns a kind of question that it cannot answer, by LoRA.

    python -m playground.shapes.lora --output playground/shapes/run-lora

writes the data, asks the held-out questions, trains by `python -m llava.train.train` and asks them again, each time
with all image tokens and with some under VisionDrop. Started again after an interruption, training goes on where
it was; a folder whose training is over is asked again and not trained anew.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from llava.errors import InputError
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.loading import TRAINED
from llava.eval.runs.options import device_from
from llava.model.builder import load_pretrained_model
from llava.reduction import method_class
from playground.shapes.check import accuracy
from playground.shapes.own_data import write_data
from playground.shapes.score import read_split
from playground.shapes.split import PICTURES

# The name must hold "llava" and "lora": LLaVA's own loader goes by it.
ADAPTER = "llava-shapes-lora"
Scores = dict[str, float]


def training_flags(base: str, data: Path, output: Path, device: str) -> list[str]:
    """What is typed behind `python -m llava.train.train`: LLaVA-1.5's LoRA, its rank and rate for a small model.

    The trainer takes an accelerator where there is one, unless it is told to compute on the CPU.
    """
    return [
        *("--model_name_or_path", base, "--version", "v1", "--vision_tower", "vision_tower"),
        *("--data_path", str(data / "train.json"), "--image_folder", str(data / "images")),
        *("--mm_vision_select_layer", "-2", "--mm_projector_type", "mlp2x_gelu", "--mm_use_im_patch_token", "False"),
        *("--image_aspect_ratio", "pad", "--model_max_length", "2048", "--output_dir", str(output)),
        *("--lora_enable", "True", "--lora_r", "32", "--lora_alpha", "64", "--mm_projector_lr", "2e-5"),
        *("--learning_rate", "2e-3", "--weight_decay", "0", "--warmup_ratio", "0.03", "--lr_scheduler_type", "cosine"),
        *("--num_train_epochs", "1", "--per_device_train_batch_size", "16", "--save_steps", "25"),
        *("--save_total_limit", "1", "--logging_steps", "5", "--report_to", "none"),
        *(("--use_cpu", "True") if device == "cpu" else ()),
    ]


def scores_of(path: str, base: str | None, questions: Path, images: Path, retain: int, device: str) -> Scores:
    """Per cent right with all image tokens, and with `retain` of them under VisionDrop."""
    name = ADAPTER if base else "llava-shapes"
    tokenizer, model, processor, _ = load_pretrained_model(path, base, name, device=device)
    held = read_split(questions, tokenizer, processor, model.config, images)
    found = {}
    reduced = method_class("visiondrop").from_budget(retain, model.geometry)
    for name, method in (("all tokens", method_class("none")()), (f"visiondrop, {retain} tokens", reduced)):
        model.reduction = method
        found[name] = accuracy(model, held)["all"]
    return found


def table(before: Scores, after: Scores, asked: int) -> str:
    """Markdown: per cent right of held-out questions."""
    lines = [f"| {asked} questions, % right | before | after |", "|---|--:|--:|"]
    return "\n".join([*lines, *(f"| {name} | {before[name]:.1f} | {after[name]:.1f} |" for name in before)])


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.lora", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="playground/shapes/run-lora", help="folder to write to")
    parser.add_argument("--base", default=TRAINED, help="the model that is trained on")
    parser.add_argument("--images", default="playground/shapes/images", help="pictures of the test split")
    parser.add_argument("--pictures", type=at_least(1), default=800, help="conversations to train on")
    parser.add_argument("--held-out", type=at_least(1, PICTURES), default=PICTURES, help="questions to test with")
    parser.add_argument("--retain", type=at_least(1), default=28, help="image tokens under VisionDrop, on average")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    args = parser.parse_args()
    device = device_from(args)
    folder, images = Path(args.output), Path(args.images)
    data, adapter = folder / "data", folder / ADAPTER
    write_data(data, args.pictures, args.held_out)
    before = scores_of(args.base, None, data, images, args.retain, device)
    command = [sys.executable, "-m", "llava.train.train", *training_flags(args.base, data, adapter, device)]
    print(f"training: {shlex.join(['python', *command[1:]])}", flush=True)
    if subprocess.run(command).returncode:
        raise InputError(f"training ended early, see above; the command goes on when it is started again: {adapter}")
    after = scores_of(str(adapter), args.base, data, images, args.retain, device)
    print(table(before, after, args.held_out))


if __name__ == "__main__":
    run(main)
