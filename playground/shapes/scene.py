"""Scenes: which things are where. Everything random comes from one seed, one split name and one number."""

import math
import zlib
from dataclasses import dataclass

import numpy as np

SIDE = 128
CELL = SIDE / 3
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("square", "triangle", "cross", "ring")
SIZES = ("small", "large")
# Half widths in pixels.
RADII = {"small": (10, 11, 12), "large": (17, 18, 19)}
# Centres lie on multiples of this many pixels: a patch of 8 then cuts a shape in few ways, which a small tower learns
# in minutes. With centres anywhere it still took small crosses for triangles after 22,000 pictures.
LATTICE = 4
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
    x: int
    y: int
    radius: int

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
    """The things of a picture, by place, and the seed of what lies behind them."""

    things: tuple[Thing, ...]
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


def make_scene(seed: int, split: str, number: int, fewest: int = 2, most: int = 6) -> Scene:
    """Scene `number` of a split, with `fewest` to `most` things, no two of the same color and shape."""
    source = random_source(seed, SPLITS.index(split), number)
    while True:
        scene = _draw(source, int(source.randint(fewest, most + 1)))
        if scene.split == split:
            return scene


def _draw(source: np.random.RandomState, count: int) -> Scene:
    # Few colors and shapes to a picture: else nothing would be there twice and counting would be 0 or 1.
    more = 2 if count > 6 else 0
    colors = source.permutation(len(COLORS))[: source.randint(2 + more, 6 + more)]
    shapes = source.permutation(len(SHAPES))[: source.randint(2 + more, 5 + more)]
    pairs = [(COLORS[color], SHAPES[shape]) for color in colors for shape in shapes]
    chosen = source.permutation(len(pairs))[:count]
    places = sorted(source.permutation(len(PLACES))[: len(chosen)].tolist())
    things = tuple(_put(source, *pairs[pair], place) for pair, place in zip(chosen, places))
    return Scene(things, int(source.randint(2**31)), bool(source.rand() < 0.4))


def _put(source: np.random.RandomState, color: str, shape: str, place: int) -> Thing:
    """A thing somewhere in its cell, not across the cell's border, where its place would be a matter of taste."""
    size = SIZES[source.randint(len(SIZES))]
    radius = RADII[size][source.randint(len(RADII[size]))]
    x, y = (_on_lattice(source, middle * CELL, 20.5 - radius) for middle in (place % 3 + 0.5, place // 3 + 0.5))
    return Thing(color, shape, size, place, x, y, radius)


def _on_lattice(source: np.random.RandomState, middle: float, reach: float) -> int:
    """A multiple of `LATTICE` at most `reach` from `middle`, any as likely as any other."""
    first, last = math.ceil((middle - reach) / LATTICE), math.floor((middle + reach) / LATTICE)
    return LATTICE * int(source.randint(first, last + 1))
