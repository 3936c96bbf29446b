"""Score a checkpoint on the shipped test split, with the pictures and blind (every picture plain grey).

    python -m playground.shapes.score --checkpoint playground/shapes/llava-shapes

An answer is right when greedy decoding writes exactly it. The benchmark scripts generate answers; this only asks
whether each token of the right answer, and the end after it, is the likeliest, which comes to the same and is faster.
"""

import json
from pathlib import Path
from typing import Any

import torch

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.eval.files import read_jsonl
from llava.eval.runs.command import Parser, run
from llava.eval.runs.options import device_from
from llava.mm_utils import open_image, process_images
from llava.model.builder import load_pretrained_model
from playground.shapes.check import Held, accuracy
from playground.shapes.text import encode


def read_split(folder: Path, tokenizer: Any, processor: object, config: object, images: Path | None = None) -> Held:
    """Questions, answers and pixels of a split's files; its pictures are in `images`, by default in the same folder."""
    images = folder / "images" if images is None else images
    questions = [record for _, record in read_jsonl(str(folder / "questions.jsonl"), ("text",), "questions")]
    answers = [record for _, record in read_jsonl(str(folder / "answers.jsonl"), ("answer",), "answers")]
    pictures: dict[str, torch.Tensor] = {}
    held = []
    for question, truth in zip(questions, answers, strict=True):
        name = question["image"]
        if name not in pictures:
            pictures[name] = process_images([open_image(images / name)], processor, config)[0]
        asked = {"from": "human", "value": f"{DEFAULT_IMAGE_TOKEN}\n{question['text']}"}
        answered = {"from": "gpt", "value": truth["answer"]}
        held.append((question["category"], {"image": pictures[name]} | encode([asked, answered], tokenizer)))
    return held


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.score", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", default="playground/shapes/llava-shapes", help="folder")
    parser.add_argument("--data", default="playground/shapes", help="folder of the test split")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    args = parser.parse_args()
    device = device_from(args)
    tokenizer, model, processor, _ = load_pretrained_model(args.checkpoint, None, "llava-shapes", device=device)
    held = read_split(Path(args.data), tokenizer, processor, model.config)
    for name, blind in (("all tokens", False), ("blind", True)):
        scores = accuracy(model, held, blind=blind)
        print(json.dumps({"pictures": name} | {kind: round(score, 2) for kind, score in scores.items()}))


if __name__ == "__main__":
    run(main)
