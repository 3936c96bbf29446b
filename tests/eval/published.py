"""Small copies of the benchmarks in their published formats: same folders, names, columns, keys and oddities.

`write(name, folder)` makes `folder/<benchmark>` as it lies under `playground/data/eval`. Contents are made up.
"""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from published_mmbench import mmbench, mmbench_cn
from published_videos import activitynet, msrvtt, msvd, tgif

WORD = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
UNSURE = "When the provided information is insufficient, respond with 'Unanswerable'."


def picture(path: Path, number: int, mode: str = "RGB") -> None:
    """A small picture file, another one for every number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (48 + 8 * (number % 3), 64), (40 * number % 256, 90, 200 - 30 * number % 200))
    image.paste((250, 240, 10), (8, 8, 24 + number, 30))
    image.convert(mode).save(path)


def lines(path: Path, records: list[dict]) -> None:
    """A JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_json(path: Path, value: object, indent: int | None = None) -> None:
    """A JSON file without a line feed at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent))


def question(question_id: str | int, image: str, text: str, category: str = "default", end: str = WORD) -> dict:
    """A question line with its instruction."""
    return {"question_id": question_id, "image": image, "text": f"{text}\n{end}", "category": category}


def pope(folder: Path) -> None:
    """Three categories of four questions, in the order of the published file, with its misspelling."""
    asked = []
    for category, first in (("adversarial", 1), ("random", 10000001), ("popular", 20000001)):
        labels = []
        for number in range(4):
            image = f"COCO_val2014_{310196 + number // 2:012d}.jpg"
            text = f"Is there a {('dog', 'car')[number % 2]} in the image?"
            label = ("yes", "no")[number % 2]
            labels.append({"question_id": number + 1, "image": image, "text": text, "label": label})
            misspelt = text.replace("image", "imange") if category == "popular" and number == 3 else text
            asked.append(question(first + number, image, misspelt, category))
        lines(folder / f"pope/coco/coco_pope_{category}.json", labels)
    lines(folder / "pope/llava_pope_test.jsonl", asked)
    for number in range(2):
        picture(folder / f"pope/val2014/COCO_val2014_{310196 + number:012d}.jpg", number)


def gqa(folder: Path) -> None:
    """Five questions of the five structural types."""
    kinds = [("query", "attr", "red"), ("verify", "obj", "yes"), ("logical", "obj", "no"), ("choose", "cat", "left")]
    kinds += [("compare", "rel", "yes")]
    asked, records = [], {}
    for number, (structural, semantic, answer) in enumerate(kinds):
        question_id, image, text = f"20130725{number}", f"n16131{number % 2}", f"Is the {structural} overcast?"
        asked.append(question(question_id, f"{image}.jpg", text))
        records[question_id] = {
            "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (7)"}],
            "entailed": [],
            "equivalent": [question_id],
            "question": text,
            "imageId": image,
            "isBalanced": True,
            "groups": {"global": "weather" if structural == "query" else None, "local": "06-sky"},
            "answer": answer,
            "semanticStr": "select: sky (7)",
            "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
            "types": {"detailed": f"{structural}Attr", "semantic": semantic, "structural": structural},
            "fullAnswer": f"It is {answer}.",
        }
        picture(folder / f"gqa/data/images/{image}.jpg", number % 2)
    lines(folder / "gqa/llava_gqa_testdev_balanced.jsonl", asked)
    write_json(folder / "gqa/data/testdev_balanced_questions.json", records)


def vqav2(folder: Path) -> None:
    """Five questions of test-dev, eight of the whole test set."""
    split = [
        question(262144000 + number, f"COCO_test2015_{262144 + number // 3:012d}.jpg", f"What is item {number}?")
        for number in range(8)
    ]
    lines(folder / "vqav2/llava_vqav2_mscoco_test2015.jsonl", split)
    lines(folder / "vqav2/llava_vqav2_mscoco_test-dev2015.jsonl", split[:5])
    for number in range(3):
        picture(folder / f"vqav2/test2015/COCO_test2015_{262144 + number:012d}.jpg", number)


def vizwiz(folder: Path) -> None:
    """Five questions, one picture each."""
    names = [f"VizWiz_test_{number:08d}.jpg" for number in range(5)]
    lines(
        folder / "vizwiz/llava_test.jsonl",
        [question(n, name, "What is this?", end=f"{UNSURE}\n{WORD}") for n, name in enumerate(names)],
    )
    for number, name in enumerate(names):
        picture(folder / "vizwiz/test" / name, number)


def sqa(folder: Path) -> None:
    """Five problems of the test split, two with a picture, one of these with a palette."""
    asked, problems = [], {}
    for number in range(5):
        name, choices = str(4 + 3 * number), ["Texas", "Maine", "Ohio"][: 2 + number % 2]
        shown, hint = number % 2 == 1, "Look at the map." if number > 2 else ""
        body = "".join([f"Context: {hint}\n" if hint else "", "Which state is farthest north?"])
        body += "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABC", choices))
        turns = [{"from": "human", "value": ("<image>\n" if shown else "") + body}, {"from": "gpt", "value": "B"}]
        asked.append({"id": name} | ({"image": f"{name}/image.png"} if shown else {}) | {"conversations": turns})
        problems[name] = {
            "question": "Which state is farthest north?",
            "choices": choices,
            "answer": 1,
            "hint": hint,
            "image": "image.png" if shown else None,
            "task": "closed choice",
            "grade": f"grade{2 + 2 * number}",
            "subject": ("social science", "natural science", "language science")[number % 3],
            "topic": "geography",
            "category": "State capitals",
            "skill": "Read a map",
            "lecture": "",
            "solution": "",
            "split": "test",
        }
        if shown:
            picture(folder / f"scienceqa/images/test/{name}/image.png", number, "P" if number == 1 else "RGBA")
    write_json(folder / "scienceqa/llava_test_CQM-A.json", asked, indent=2)
    write_json(folder / "scienceqa/problems.json", problems)
    write_json(folder / "scienceqa/pid_splits.json", {"train": ["1"], "test": [record["id"] for record in asked]})


def textvqa(folder: Path) -> None:
    """Four questions about three pictures, one of them without OCR tokens; ids repeat as in the published file."""
    asked, records = [], []
    for number in range(4):
        name, ocr = f"003a8ae2ef43b90{number // 2}", "" if number == 2 else "DAKOTA, DIGITAL"
        text = f"what is the brand of camera {number}?"
        asked.append(question(name, f"{name}.jpg", f"{text}\nReference OCR token: {ocr}"))
        records.append({"question": text, "question_id": 34602 + number, "image_id": name, "answers": ["dakota"] * 10})
        picture(folder / f"textvqa/train_images/{name}.jpg", number // 2)
    lines(folder / "textvqa/llava_textvqa_val_v051_ocr.jsonl", asked)
    published = {"dataset_type": "val", "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": records}
    write_json(folder / "textvqa/TextVQA_0.5.1_val.json", published)


# Subtasks of MME whose folders are nested, and those that are flat, with the ending of their pictures.
NESTED = ("artwork", "celebrity", "landmark", "posters", "scene")
FLAT = {"existence": "jpg", "count": "jpg", "position": "jpg", "color": "jpg", "OCR": "jpg"} | dict.fromkeys(
    ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"), "png"
)


def mme(folder: Path) -> None:
    """All 14 subtasks with one picture of two questions; one truth has two spaces before `Please`."""
    asked, release = [], folder / "MME/MME_Benchmark_release_version"
    for number, name in enumerate((*NESTED, *FLAT)):
        nested = name in NESTED
        file = f"{name}/images/1477{number}.jpg" if nested else f"{name}/002{number % 10}.{FLAT[name]}"
        truth = release / (f"{name}/questions_answers_YN" if nested else name) / f"{Path(file).stem}.txt"
        picture(release / file, number)
        truth.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"Is there a {thing} in this {name}?" for thing in ("dog", "car")]
        space = "  " if name == "color" else " "
        truth.write_text("".join(f"{t}{space}Please answer yes or no.\t{a}\n" for t, a in zip(texts, ("Yes", "No"))))
        asked += [question(file, file, text, name) for text in texts]
    lines(folder / "MME/llava_mme.jsonl", asked)


def seed(folder: Path) -> None:
    """Three questions about pictures and one about a video's frame."""
    asked, records = [], []
    for number in range(4):
        video = number == 3
        question_id, data = (
            ("v0", "SEED-Bench-video-image/10_v0.png") if video else (101669 + number, f"14544{number}_2")
        )
        image = data if video else f"SEED-Bench-image/{data}"
        options = {f"choice_{letter}": word for letter, word in zip("abcd", ("One", "Two", "Three", "Four"))}
        text = "How many towels are in the image?"
        body = "\n".join([text, *(f"{key[-1].upper()}. {word}" for key, word in options.items())])
        asked.append(question(question_id, image, body, end=LETTER))
        record = {"answer": "B", **options, "data_id": data, "data_type": "video" if video else "image"}
        records.append(
            record | {"question": text, "question_id": str(question_id), "question_type_id": 10 if video else 5}
        )
        (folder / f"seed_bench/{image}").parent.mkdir(parents=True, exist_ok=True)
        with open(folder / f"seed_bench/{image}", "wb") as file:
            Image.new("RGB", (50, 40), (60 * number, 9, 9)).save(file, "PNG")
    lines(folder / "seed_bench/llava-seed-bench.jsonl", asked)
    kinds = {"Instances Counting": 5, "Action Recognition": 10}
    write_json(folder / "seed_bench/SEED-Bench.json", {"questions": records, "question_type": kinds})


def mmvet(folder: Path) -> None:
    """Three questions that want sentences."""
    asked = []
    for number in range(3):
        asked.append({"image": f"v1_{number}.png", "text": "What is x?", "category": "conv", "question_id": number})
        picture(folder / f"mm-vet/images/v1_{number}.png", number)
    lines(folder / "mm-vet/llava-mm-vet.jsonl", asked)


def llavabench(folder: Path) -> None:
    """Three questions about two pictures."""
    asked = []
    for number in range(3):
        image = f"{1 + number // 2:03d}.jpg"
        asked.append({"question_id": number, "image": image, "category": "conv", "text": "What is this place?"})
        picture(folder / f"llava-bench-in-the-wild/images/{image}", number // 2)
    lines(folder / "llava-bench-in-the-wild/questions.jsonl", asked)


WRITERS: dict[str, Callable[[Path], None]] = {
    writer.__name__: writer
    for writer in (
        *(gqa, mmbench, mmbench_cn, mme, pope, sqa, textvqa, vizwiz, vqav2, seed, mmvet, llavabench),
        *(msvd, msrvtt, tgif, activitynet),
    )
}
