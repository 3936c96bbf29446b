"""Which questions are put together, and which pictures are read for them."""

import random

import pytest

from llava.eval.runs.plan import first_uses, image_key, plan_apart, plan_batches
from llava.eval.runs.questions import FileImage, Question


def test_questions_about_an_image_come_together_and_the_earliest_first() -> None:
    keys = ["a", "b", "a", None, "a", "c", "b", None]
    assert plan_batches(keys, 1) == [[0], [1], [2], [3], [4], [5], [6], [7]]
    assert plan_batches(keys, 2) == [[0, 2], [1, 6], [3, 4], [5, 7]]
    assert plan_batches(keys, 4) == [[0, 2, 4, 1], [3, 5, 6, 7]]
    assert plan_batches(keys, 20) == [[0, 2, 4, 1, 6, 3, 5, 7]]
    assert plan_batches([], 3) == []


@pytest.mark.parametrize("alone", [None, 1, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_every_question_is_asked_once_and_every_batch_begins_with_the_earliest_left(
    size: int, alone: int | None
) -> None:
    chance = random.Random(size)
    keys = [chance.choice(["a", "b", "c", "d", None]) for _ in range(50)]
    plan = plan_batches(keys, size, alone)
    assert sorted(sum(plan, [])) == list(range(50))
    if alone is None:
        assert all(len(batch) == size for batch in plan[:-1])
    for number, batch in enumerate(plan):
        assert batch[0] == min(sum(plan[number:], []))


def test_a_picture_with_enough_questions_has_batches_of_its_own() -> None:
    keys = ["a", "b", "a", None, "a", "c", "b", None]
    assert plan_batches(keys, 4, 4) == [[0, 2, 4], [1, 6], [3, 5, 7]]
    assert plan_batches(keys, 5, 8) == [[0, 2, 4], [1, 6, 3, 5, 7]]
    assert plan_batches(keys, 4, 2) == [[0, 2], [1, 6], [3, 4, 5, 7]]
    assert plan_batches(["a", "b"] * 5, 1, 3) == [[0, 2, 4], [1, 3, 5], [6, 8], [7, 9]]
    assert plan_batches(keys, 8, 8) == plan_batches(keys, 8)  # three of eight are not enough
    kinds = [0, 1, 0, 0, 0, 1, 1, 1]
    assert plan_apart(keys, 4, kinds, 4) == [[0, 2, 4], [3], [1, 6], [5, 7]]


def test_a_picture_is_read_where_its_prefix_is_not_kept() -> None:
    keys = ["a", "a", "b", "c", "a", None, "b"]
    batches = [[0, 1], [2], [3], [4, 5], [6]]
    assert first_uses(batches, keys, 3) == [
        [(0, True), (1, False)],
        [(2, True)],
        [(3, True)],
        [(4, False), (5, False)],
        [(6, False)],
    ]
    only_two = first_uses(batches, keys, 2)
    assert only_two[3:] == [[(4, True), (5, False)], [(6, True)]]
    assert sum(read for batch in first_uses(batches, keys, 0) for _, read in batch) == 5


def test_pictures_are_the_same_by_their_path() -> None:
    def question(image: object) -> Question:
        return Question("here", "Is it?", image, {})

    assert image_key(question(FileImage("a.png", "line 1"))) == image_key(question(FileImage("a.png", "line 2")))
    assert image_key(question(FileImage("a.png", "line 1"))) != image_key(question(FileImage("b.png", "line 1")))
    assert image_key(question(None)) is None
