"""Scenes to pixels, with numpy alone, so that the same scene gives the same bytes everywhere."""

import numpy as np

from playground.shapes.scene import SIDE, Scene, Thing, random_source

PAINT = {
    "red": (214, 32, 36),
    "green": (34, 158, 52),
    "blue": (34, 66, 218),
    "yellow": (246, 222, 36),
    "purple": (138, 38, 168),
    "orange": (246, 136, 20),
    "white": (250, 250, 250),
    "black": (14, 14, 14),
}
_ACROSS, _DOWN = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)


def draw(scene: Scene) -> np.ndarray:
    """(128, 128, 3) uint8, RGB."""
    source = random_source(scene.backdrop)
    picture = _background(source)
    if scene.cluttered:
        _clutter(picture, source)
    for thing in scene.things:
        left, top = (max(0, int(centre - thing.radius)) for centre in (thing.x, thing.y))
        box = slice(top, int(thing.y + thing.radius) + 2), slice(left, int(thing.x + thing.radius) + 2)
        paint = np.clip(np.array(PAINT[thing.color]) + source.randint(-8, 9, 3), 0, 255)
        picture[box][inside(thing, _ACROSS[box], _DOWN[box])] = paint
    return picture


def covered(scene: Scene, patch: int) -> np.ndarray:
    """(things, rows, columns) float64: the share of each patch of `patch` x `patch` pixels that each thing covers."""
    rows = SIDE // patch
    shares = np.zeros((len(scene.things), rows, rows))
    for share, thing in zip(shares, scene.things):
        cells = inside(thing, _ACROSS, _DOWN).reshape(rows, patch, rows, patch)
        share += cells.mean(axis=(1, 3))
    return shares


def inside(thing: Thing, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Which of the pixels with these centres a thing covers; bool, the shape of `across`."""
    x, y = (across - thing.x) / thing.radius, (down - thing.y) / thing.radius
    distance = x * x + y * y
    if thing.shape == "ring":
        return (distance <= 0.96) & (distance >= 0.3)
    if thing.shape == "square":
        return (abs(x) <= 0.82) & (abs(y) <= 0.82)
    if thing.shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 0.95)
    return (y <= 0.8) & (2 * abs(x) <= y + 1)


def _background(source: np.random.RandomState) -> np.ndarray:
    """Greyish, so that the eight paints stand out: plain, striped, chequered, shaded or cloudy."""
    base = source.randint(105, 185) + source.randint(-14, 15, 3)
    other = base + source.choice([-1, 1]) * source.randint(12, 34)
    kind, width = source.randint(5), int(source.randint(4, 15))
    across, down = np.arange(SIDE)[None, :], np.arange(SIDE)[:, None]
    if kind == 0:
        share = np.zeros((SIDE, SIDE))
    elif kind == 1:
        slope = source.randint(4)
        along = (across + 0 * down, down + 0 * across, across + down, across - down + SIDE)[slope]
        share = along // width % 2
    elif kind == 2:
        share = (across // width + down // width) % 2
    elif kind == 3:
        share = (across * source.randint(3) + down * source.randint(1, 3)) // 8 / 64
    else:
        cells = source.randint(0, 5, (SIDE // 8, SIDE // 8)) / 4
        share = cells.repeat(8, axis=0).repeat(8, axis=1)
    shade = base + (other - base) * share[..., None]
    return np.clip(shade, 0, 255).astype(np.uint8)


def _clutter(picture: np.ndarray, source: np.random.RandomState) -> None:
    """Dots and short lines of dull colors, behind the things."""
    for _ in range(source.randint(6, 22)):
        x, y = source.randint(0, SIDE - 2, 2)
        long, thick = source.randint(2, 12), source.randint(1, 3)
        paint = source.randint(60, 215) + source.randint(-30, 31, 3)
        high, wide = (thick, long) if source.rand() < 0.5 else (long, thick)
        if source.rand() < 0.4:
            high = wide = thick + 1
        picture[y : y + high, x : x + wide] = paint.clip(0, 255)
