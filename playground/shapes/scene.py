"""Scenes: which things are where. Everything random comes from one seed, one split name and one number."""

import zlib
from dataclasses import dataclass

import numpy as np

SIDE = 128
CELL = SIDE / 3
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
# What the last stage and the test split show. The tower learns to see circles and stars too, but in the time it is
# given takes too many small ones for squares and crosses.
ASKED = ("square", "triangle", "cross", "ring")
SIZES = ("small", "large")
PLACES = (
    *("top left", "top", "top right"),
    *("left", "center", "right"),
    *("bottom left", "bottom", "bottom right"),
)
SPLITS = ("train", "validation", "test")
# Of 16 scenes drawn, the one whose checksum is 0 is kept for testing and the one with 1 for validation.
_SHARES = 16


@dataclass(frozen=True)
class Thing:
    """One coloured shape.

    Attributes:
        place: number of its cell of the 3 x 3 grid, row by row.
        x, y: its centre in pixels, right and down from the top left corner.
        radius: half its width in pixels.
    """

    color: str
    shape: str
    size: str
    place: int
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        """What questions call it."""
        return f"{self.color} {self.shape}"

    @property
    def row(self) -> int:
        """0 at the top, 2 at the bottom."""
        return self.place // 3

    @property
    def column(self) -> int:
        """0 at the left, 2 at the right."""
        return self.place % 3


@dataclass(frozen=True)
class Scene:
    """The things of a picture, by place, the shapes there could have been, and the seed of what lies behind them."""

    things: tuple[Thing, ...]
    shapes: tuple[str, ...]
    backdrop: int
    cluttered: bool

    @property
    def split(self) -> str:
        """The one split this scene may appear in: decided by what is where, so that no two splits share a scene."""
        content = ";".join(f"{thing.place} {thing.name}" for thing in self.things)
        return {0: "test", 1: "validation"}.get(zlib.crc32(content.encode()) % _SHARES, "train")


def random_source(*numbers: int) -> np.random.RandomState:
    """Random numbers that depend on `numbers` alone. numpy has promised never to change this generator's stream."""
    return np.random.RandomState(list(numbers))


def make_scene(
    seed: int, split: str, number: int, fewest: int = 2, most: int = 6, shapes: tuple[str, ...] = ASKED
) -> Scene:
    """Scene `number` of a split, with `fewest` to `most` things, no two of the same color and shape."""
    source = random_source(seed, SPLITS.index(split), number)
    while True:
        scene = _draw(source, int(source.randint(fewest, most + 1)), shapes)
        if scene.split == split:
            return scene


def _draw(source: np.random.RandomState, count: int, world: tuple[str, ...]) -> Scene:
    # Few colors and shapes to a picture: else nothing would be there twice and counting would be 0 or 1.
    more = 2 if count > 6 else 0
    colors = source.permutation(len(COLORS))[: source.randint(2 + more, 6 + more)]
    shapes = source.permutation(len(world))[: source.randint(2 + more, 5 + more)]
    pairs = [(COLORS[color], world[shape]) for color in colors for shape in shapes]
    chosen = source.permutation(len(pairs))[:count]
    places = sorted(source.permutation(len(PLACES))[: len(chosen)].tolist())
    things = tuple(_put(source, *pairs[pair], place) for pair, place in zip(chosen, places))
    return Scene(things, world, int(source.randint(2**31)), bool(source.rand() < 0.4))


def _put(source: np.random.RandomState, color: str, shape: str, place: int) -> Thing:
    """A thing somewhere in its cell, not across the cell's border, where its place would be a matter of taste."""
    large = bool(source.rand() < 0.5)
    radius = source.uniform(16, 19) if large else source.uniform(8.5, 11)
    reach = 20.5 - radius
    x = (place % 3 + 0.5) * CELL + source.uniform(-reach, reach)
    y = (place // 3 + 0.5) * CELL + source.uniform(-reach, reach)
    return Thing(color, shape, SIZES[large], place, float(x), float(y), float(radius))
