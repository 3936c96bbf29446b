"""Data of one's own, for the tutorial of docs/training.md: a kind of question that the shipped model was never taught.

    python -m playground.shapes.own_data --output playground/shapes/run-lora/data

"What is at the top left?" wants color and shape at once, "red ring". The shipped model was asked for one of them at a
time and answers so. Written are conversations about new pictures in LLaVA's JSON, and a question about each picture of
the test split, in the form that the shapes benchmark takes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.eval.runs.command import Parser, at_least, run
from llava.files.writing import write_text
from playground.shapes.pictures import draw
from playground.shapes.questions import SHORT
from playground.shapes.scene import PLACES, Scene, Thing, make_scene, random_source
from playground.shapes.split import PICTURES, image_name, save_picture

KIND = "thing"
# Scenes behind those of the recipe's stages, whose numbers begin at multiples of ten million.
FIRST_SCENE = 60_000_000
Record = dict[str, Any]


def question_of(thing: Thing) -> tuple[str, str]:
    """Text and answer of the question that asks for a thing by its place."""
    return f"What is at the {PLACES[thing.place]}?", thing.name


def talk_about(scene: Scene, source: np.random.RandomState) -> list[dict[str, str]]:
    """All things of a picture, asked for one after the other in random order; the first asks for a short answer."""
    messages = []
    for number, place in enumerate(source.permutation(len(scene.things))):
        text, answer = question_of(scene.things[place])
        asked = f"{DEFAULT_IMAGE_TOKEN}\n{text}{SHORT}" if number == 0 else text
        messages += [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    return messages


def training_data(pictures: int, seed: int) -> tuple[list[Scene], list[Record]]:
    """Scenes that neither a test nor the shipped model's training shows, and a conversation about each."""
    scenes = [make_scene(seed, "train", FIRST_SCENE + number) for number in range(pictures)]
    talks = [talk_about(scene, random_source(seed, 600, number)) for number, scene in enumerate(scenes)]
    return scenes, [
        {"id": str(number), "image": image_name(number), "conversations": talk} for number, talk in enumerate(talks)
    ]


def held_out_data(pictures: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Questions and answers, one about each of the first pictures of the test split."""
    questions, answers = [], []
    for number in range(pictures):
        things = make_scene(seed, "test", number).things
        text, answer = question_of(things[random_source(seed, 700, number).randint(len(things))])
        key = {"question_id": number, "image": image_name(number), "category": KIND}
        questions.append(key | {"text": text + SHORT})
        answers.append(key | {"answer": answer})
    return questions, answers


def write_data(folder: Path, pictures: int, held_out: int, seed: int = 0) -> None:
    """`train.json` and `images/` to train on, `questions.jsonl` and `answers.jsonl` to test with."""
    scenes, talks = training_data(pictures, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for record, scene in zip(tqdm(talks, desc="pictures"), scenes, strict=True):
        save_picture(draw(scene), folder / "images" / record["image"])
    write_text(folder / "train.json", json.dumps(talks, indent=1) + "\n")
    for name, records in zip(("questions", "answers"), held_out_data(held_out, seed)):
        write_text(folder / f"{name}.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.own_data", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="playground/shapes/run-lora/data", help="folder to write to")
    parser.add_argument("--pictures", type=at_least(1), default=800, help="conversations to train on")
    parser.add_argument("--held-out", type=at_least(1, PICTURES), default=PICTURES, help="questions to test with")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the data")
    args = parser.parse_args()
    write_data(Path(args.output), args.pictures, args.held_out, args.seed)


if __name__ == "__main__":
    run(main)
