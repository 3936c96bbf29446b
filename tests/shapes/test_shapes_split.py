"""The shipped test split: nobody changed it, the generator makes it again, and its questions are fair."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from playground.shapes.pictures import draw
from playground.shapes.questions import KINDS, SHORT
from playground.shapes.scene import SPLITS, make_scene
from playground.shapes.split import CHECKSUMS, PICTURES, POPE_PICTURES, digest, image_name, pope_questions, test_split

SHAPES = Path(__file__).parents[2] / "playground/shapes"
test_split.__test__ = False  # a function of the generator, whose name pytest would take for its own


def lines(name: str) -> list[dict]:
    """The records of a shipped file."""
    return [json.loads(line) for line in (SHAPES / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def split() -> tuple[list, list, list]:
    """The split made again."""
    return test_split(PICTURES, seed=0)


def test_no_shipped_file_was_changed() -> None:
    sums = dict(line.split("  ")[::-1] for line in (SHAPES / CHECKSUMS).read_text().splitlines())

    assert {name: digest(SHAPES / name) for name in sums} == sums
    assert set(sums) >= {f"images/{file.name}" for file in (SHAPES / "images").iterdir()}
    assert {"questions.jsonl", "answers.jsonl", "pope/llava_pope_test.jsonl"} <= set(sums)


def test_the_generator_makes_the_same_pixels_again(split: tuple[list, list, list]) -> None:
    for number, scene in enumerate(split[0]):
        with Image.open(SHAPES / "images" / image_name(number)) as picture:
            assert np.array_equal(np.asarray(picture), draw(scene)), image_name(number)


def test_the_generator_makes_the_same_questions_again(split: tuple[list, list, list]) -> None:
    scenes, questions, answers = split
    asked, labels = pope_questions(scenes[:POPE_PICTURES], seed=0)

    assert (lines("questions.jsonl"), lines("answers.jsonl")) == (questions, answers)
    assert lines("pope/llava_pope_test.jsonl") == asked
    assert {name: lines(f"pope/coco/coco_pope_{name}.json") for name in labels} == labels


def test_another_seed_makes_other_scenes() -> None:
    assert make_scene(0, "test", 0) != make_scene(1, "test", 0)


def test_splits_never_overlap() -> None:
    seen = {
        split: {
            tuple((thing.place, thing.name) for thing in make_scene(seed, split, number, fewest=1).things)
            for seed in range(2)
            for number in range(150)
        }
        for split in SPLITS
    }

    assert all(scene.split == "test" for scene in (make_scene(3, "test", number) for number in range(50)))
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not seen[one] & seen[other]
        assert len(seen[one]) > 200


def test_the_split_is_large_enough_and_in_the_agreed_format() -> None:
    questions, answers = lines("questions.jsonl"), lines("answers.jsonl")

    assert len(questions) >= 2000 and len({question["image"] for question in questions}) >= 300
    assert [question["question_id"] for question in questions] == list(range(len(questions)))
    assert [list(question) for question in questions[:1]] == [["question_id", "image", "text", "category"]]
    assert all(question["text"].endswith(SHORT) for question in questions)
    for key in ("question_id", "image", "category"):
        assert [question[key] for question in questions] == [answer[key] for answer in answers]
    assert {question["category"] for question in questions} == set(KINDS)


def test_answers_are_spread_so_that_guessing_does_not_pay() -> None:
    counts: dict[str, Counter] = defaultdict(Counter)
    for record in lines("answers.jsonl"):
        counts[record["category"]][record["answer"]] += 1
    best_guess = {kind: max(found.values()) / found.total() for kind, found in counts.items()}

    assert best_guess["colour"] < 0.2
    assert best_guess["shape"] < 0.35 and best_guess["place"] < 0.2 and best_guess["count"] < 0.45
    assert best_guess["existence"] < 0.55 and best_guess["comparison"] < 0.55
    assert set(counts["count"]) == {"0", "1", "2", "3"}


def test_pope_asks_for_as_many_that_are_there_as_not() -> None:
    for name in ("adversarial", "popular", "random"):
        assert Counter(record["label"] for record in lines(f"pope/coco/coco_pope_{name}.json")) == {
            "yes": POPE_PICTURES,
            "no": POPE_PICTURES,
        }
    asked = lines("pope/llava_pope_test.jsonl")
    assert [question["question_id"] for question in asked] == list(range(6 * POPE_PICTURES))
    assert sorted((SHAPES / "pope/val2014").iterdir())[0].name == "00000.png"
