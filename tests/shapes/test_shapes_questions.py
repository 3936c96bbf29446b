"""Every question's answer, found again from the scene by rules written out anew."""

import re

import numpy as np
import pytest

from playground.shapes.captions import caption
from playground.shapes.pictures import PAINT, covered, draw
from playground.shapes.questions import ask
from playground.shapes.scene import PLACES, SHAPES, Scene, Thing, make_scene, random_source


def by_name(scene: Scene, name: str) -> Thing:
    """The one thing of that name."""
    [thing] = [thing for thing in scene.things if f"{thing.color} {thing.shape}" == name]
    return thing


def answer(scene: Scene, text: str) -> str:
    """The answer by other means than the generator's."""
    if found := re.fullmatch(r"Wh(?:at color is the|ich) shape (?:is )?at the (.*)\?", text):
        [thing] = [thing for thing in scene.things if PLACES[thing.place] == found[1]]
        return thing.color if "color" in text else thing.shape
    if found := re.fullmatch(r"What color is the (\w+)\?", text):
        [color] = [thing.color for thing in scene.things if thing.shape == found[1]]
        return color
    if found := re.fullmatch(r"What shape is the (\w+) one\?", text):
        [shape] = [thing.shape for thing in scene.things if thing.color == found[1]]
        return shape
    if found := re.fullmatch(r"Where is the (.*)\?", text):
        thing = by_name(scene, found[1])
        vertical = ("top", "", "bottom")[int(3 * thing.y / 128)]
        horizontal = ("left", "", "right")[int(3 * thing.x / 128)]
        return f"{vertical} {horizontal}".strip() or "center"
    if found := re.fullmatch(r"How many (\w+) are there\?", text):
        singular = found[1][:-2] if found[1] == "crosses" else found[1][:-1]
        assert singular in SHAPES
        return str(sum(thing.shape == singular for thing in scene.things))
    if found := re.fullmatch(r"How many (\w+) shapes are there\?", text):
        return str(sum(thing.color == found[1] for thing in scene.things))
    if found := re.fullmatch(r"Is there an? (.*)\?", text):
        return "yes" if found[1] in [f"{thing.color} {thing.shape}" for thing in scene.things] else "no"
    found = re.fullmatch(r"Is the (\w+ \w+) (larger than|left of|above) the (\w+ \w+)\?", text)
    assert found, text
    one, other = by_name(scene, found[1]), by_name(scene, found[3])
    measures = {"larger than": other.radius - one.radius, "left of": one.x - other.x, "above": one.y - other.y}
    # Beyond doubt: a difference of five pixels at least.
    assert abs(measures[found[2]]) >= 5
    return "yes" if measures[found[2]] < 0 else "no"


@pytest.mark.parametrize("fewest, most", [(1, 3), (2, 6)])
def test_every_answer_is_right_and_the_only_one(fewest: int, most: int) -> None:
    for number in range(200):
        scene = make_scene(7, "train", number, fewest, most)
        asked = ask(scene, random_source(7, number), per_kind=3)
        assert len({question.text for question in asked}) == len(asked) >= 3
        assert [answer(scene, question.text) for question in asked] == [question.answer for question in asked]


def test_a_caption_names_everything_of_everything() -> None:
    scene = make_scene(7, "train", 3, fewest=5)
    text = caption(scene, random_source(7, 3))

    for thing in scene.things:
        forms = f"{PLACES[thing.place]}: a {thing.size} {thing.name}.", f"{thing.name}: {thing.size}, at the"
        assert any(form in text for form in forms)
    assert text.count(".") == len(scene.things)


def test_things_show_in_their_paint_and_do_not_overlap() -> None:
    for number in range(100):
        scene = make_scene(7, "train", number)
        picture, shares = draw(scene), covered(scene, patch=8)
        assert shares.sum(axis=0).max() <= 1
        for thing, share in zip(scene.things, shares):
            assert share.sum() > 0.9
            near = np.abs(picture.astype(int) - np.array(PAINT[thing.color])).max(axis=2) <= 8
            assert near.sum() >= 0.95 * share.sum() * 64


def test_the_same_numbers_give_the_same_picture() -> None:
    assert np.array_equal(draw(make_scene(1, "train", 5)), draw(make_scene(1, "train", 5)))
    assert not np.array_equal(draw(make_scene(1, "train", 5)), draw(make_scene(1, "train", 6)))
