"""Write the test split: pictures, questions in LLaVA's format, answers, and a part of it in POPE's format.

python -m playground.shapes.split --output playground/shapes
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from llava.eval.runs.command import Parser, at_least, run
from playground.shapes.pictures import draw
from playground.shapes.questions import SHORT, ask, is_there
from playground.shapes.scene import COLORS, SHAPES, Scene, make_scene, random_source

PICTURES = 360
POPE_PICTURES = 100
CHECKSUMS = "SHA256SUMS"
Record = dict[str, Any]


def test_split(pictures: int, seed: int) -> tuple[list[Scene], list[Record], list[Record]]:
    """Scenes, questions and answers: one question of each kind about each picture, where it has one."""
    scenes = [make_scene(seed, "test", number) for number in range(pictures)]
    questions: list[Record] = []
    answers: list[Record] = []
    for number, scene in enumerate(scenes):
        for question in ask(scene, random_source(seed, 400, number)):
            key = {"question_id": len(questions), "image": image_name(number)}
            questions.append(key | {"text": question.text + SHORT, "category": question.kind})
            answers.append(key | {"category": question.kind, "answer": question.answer})
    return scenes, questions, answers


def pope_questions(scenes: list[Scene], seed: int) -> tuple[list[Record], dict[str, list[Record]]]:
    """POPE: of each picture, one thing that is there and one that is not, chosen in three ways.

    Random: of all that are not there. Popular: of its two parts, one is in the picture. Adversarial: both are, on
    different things; popular where there is no such thing.
    """
    asked: list[Record] = []
    labels: dict[str, list[Record]] = {"adversarial": [], "popular": [], "random": []}
    for category, records in labels.items():
        for number, scene in enumerate(scenes):
            source = random_source(seed, 500 + len(category), number)
            yes = scene.things[source.randint(len(scene.things))].name
            absent = _absent(scene, category)
            for name, label in ((yes, "yes"), (absent[source.randint(len(absent))], "no")):
                key = {"question_id": len(asked), "image": image_name(number), "text": is_there(name)}
                records.append(key | {"label": label})
                asked.append(key | {"text": key["text"] + SHORT, "category": category})
    return asked, labels


def _absent(scene: Scene, category: str) -> list[str]:
    present = {thing.name for thing in scene.things}
    colors, shapes = ({getattr(thing, part) for thing in scene.things} for part in ("color", "shape"))
    absent = [(color, shape) for color in COLORS for shape in SHAPES if f"{color} {shape}" not in present]
    if category == "adversarial":
        both = [(color, shape) for color, shape in absent if color in colors and shape in shapes]
        absent = both or [(color, shape) for color, shape in absent if color in colors or shape in shapes]
    elif category == "popular":
        absent = [(color, shape) for color, shape in absent if (color in colors) != (shape in shapes)]
    return [f"{color} {shape}" for color, shape in absent]


def image_name(number: int) -> str:
    """File name of a picture of the test split."""
    return f"{number:05d}.png"


def write_split(folder: Path, pictures: int = PICTURES, seed: int = 0) -> None:
    """All files of the split, and their SHA-256 sums."""
    scenes, questions, answers = test_split(pictures, seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "pope/coco").mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(tqdm(scenes, desc="pictures")):
        save_picture(draw(scene), folder / "images" / image_name(number))
    asked, labels = pope_questions(scenes[:POPE_PICTURES], seed)
    texts = {"questions.jsonl": questions, "answers.jsonl": answers, "pope/llava_pope_test.jsonl": asked}
    texts |= {f"pope/coco/coco_pope_{name}.json": records for name, records in labels.items()}
    for name, records in texts.items():
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    # pope.sh looks for the pictures where COCO has them.
    link = folder / "pope/val2014"
    if not link.is_symlink():
        link.symlink_to("../images", target_is_directory=True)
    written = [*texts, *(f"images/{image_name(number)}" for number in range(pictures))]
    (folder / CHECKSUMS).write_text("".join(f"{digest(folder / name)}  {name}\n" for name in sorted(written)))


def save_picture(pixels: np.ndarray, path: Path) -> None:
    """PNG, as small as Pillow makes it. The pixels are the same everywhere, the file depends on the zlib in use."""
    Image.fromarray(pixels).save(path, optimize=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m playground.shapes.split", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", default="playground/shapes", help="folder to write to")
    parser.add_argument("--pictures", type=at_least(1), default=PICTURES, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and questions")
    args = parser.parse_args()
    write_split(Path(args.output), args.pictures, args.seed)


if __name__ == "__main__":
    run(main)
