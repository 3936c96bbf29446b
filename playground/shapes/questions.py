"""Questions with exactly one right answer, whose answers are as evenly spread as the scene allows."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from playground.shapes.scene import COLORS, PLACES, SHAPES, Scene, Thing

SHORT = "\nAnswer the question using a single word or phrase."
# Higher numbers are asked for more often, because fewer scenes have them.
COUNTS = (0, 1, 2, 2, 3, 3)


class Question(NamedTuple):
    """A question of a kind, without the request for a short answer."""

    kind: str
    text: str
    answer: str


Asked = tuple[str, str] | None


def ask(scene: Scene, source: np.random.RandomState, per_kind: int = 1) -> list[Question]:
    """Up to `per_kind` different questions of each kind, in random order; fewer where a scene has no more to ask."""
    questions: dict[str, Question] = {}
    for kind, rule in KINDS.items():
        before = len(questions)
        for _ in range(3 * per_kind):
            asked = rule(scene, source)
            if asked is not None:
                questions.setdefault(asked[0], Question(kind, *asked))
            if len(questions) - before == per_kind:
                break
    found = list(questions.values())
    return [found[place] for place in source.permutation(len(found))]


def ask_color(scene: Scene, source: np.random.RandomState) -> Asked:
    """By shape, where only one thing has it, or by place."""
    thing = _pick(scene, source)
    if _tells_apart(source, [other.shape == thing.shape for other in scene.things]):
        return f"What color is the {thing.shape}?", thing.color
    return f"What color is the shape at the {PLACES[thing.place]}?", thing.color


def ask_shape(scene: Scene, source: np.random.RandomState) -> Asked:
    """By color, where only one thing has it, or by place."""
    thing = _pick(scene, source)
    if _tells_apart(source, [other.color == thing.color for other in scene.things]):
        return f"What shape is the {thing.color} one?", thing.shape
    return f"Which shape is at the {PLACES[thing.place]}?", thing.shape


def ask_place(scene: Scene, source: np.random.RandomState) -> Asked:
    """One of nine places."""
    thing = _pick(scene, source)
    return f"Where is the {thing.name}?", PLACES[thing.place]


def ask_count(scene: Scene, source: np.random.RandomState) -> Asked:
    """Of a shape or a color: the number is chosen first, so that the answers are spread."""
    by_shape = source.rand() < 0.5
    names = SHAPES if by_shape else COLORS
    seen = Counter(thing.shape if by_shape else thing.color for thing in scene.things)
    wanted = COUNTS[source.randint(len(COUNTS))]
    fitting = [name for name in names if seen[name] == wanted]
    if not fitting:
        return None
    name = fitting[source.randint(len(fitting))]
    return f"How many {_plural(name)} are there?" if by_shape else f"How many {name} shapes are there?", str(wanted)


def ask_existence(scene: Scene, source: np.random.RandomState) -> Asked:
    """Yes or no, half and half. Where it is no, color and shape are there, on different things, if possible."""
    if source.rand() < 0.5:
        return is_there(_pick(scene, source).name), "yes"
    present = {thing.name for thing in scene.things}
    mixed = [f"{one.color} {other.shape}" for one in scene.things for other in scene.things]
    absent = [name for name in mixed if name not in present]
    if not absent or source.rand() < 0.2:
        # A color or a shape of the scene, with a partner that may be of no thing at all.
        thing = _pick(scene, source)
        absent = [f"{thing.color} {shape}" for shape in SHAPES] + [f"{color} {thing.shape}" for color in COLORS]
        absent = [name for name in absent if name not in present]
    return is_there(absent[source.randint(len(absent))]), "no"


def ask_comparison(scene: Scene, source: np.random.RandomState) -> Asked:
    """Of two things: larger, left of or above; only where it is beyond doubt. Yes and no, half and half."""
    relation = RELATIONS[source.randint(len(RELATIONS))]
    word, rank = relation
    pairs = [(one, other) for one in scene.things for other in scene.things if rank(one) > rank(other)]
    if not pairs:
        return None
    more, less = pairs[source.randint(len(pairs))]
    if source.rand() < 0.5:
        return f"Is the {more.name} {word} the {less.name}?", "yes"
    return f"Is the {less.name} {word} the {more.name}?", "no"


RELATIONS: tuple[tuple[str, Callable[[Thing], int]], ...] = (
    ("larger than", lambda thing: int(thing.size == "large")),
    ("left of", lambda thing: -thing.column),
    ("above", lambda thing: -thing.row),
)
KINDS: dict[str, Callable[[Scene, np.random.RandomState], Asked]] = {
    "colour": ask_color,
    "shape": ask_shape,
    "place": ask_place,
    "count": ask_count,
    "existence": ask_existence,
    "comparison": ask_comparison,
}


def _tells_apart(source: np.random.RandomState, alike: list[bool]) -> bool:
    """Whether to ask by a property: half the time where it is one thing's alone. `alike`: which things have it."""
    return sum(alike) == 1 and source.rand() < 0.5


def _pick(scene: Scene, source: np.random.RandomState) -> Thing:
    return scene.things[source.randint(len(scene.things))]


def is_there(name: str) -> str:
    """The question of existence."""
    return f"Is there {'an' if name[0] in 'aeiou' else 'a'} {name}?"


def _plural(shape: str) -> str:
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"
