"""Captions for the first two stages: every thing once, by its place or by its name, in random order."""

import numpy as np

from playground.shapes.scene import PLACES, Scene


def caption(scene: Scene, source: np.random.RandomState) -> str:
    """Example: "top left: a large red star. blue ring: small, at the center." """
    clauses = []
    for number in source.permutation(len(scene.things)):
        thing = scene.things[number]
        if source.rand() < 0.5:
            clauses.append(f"{PLACES[thing.place]}: a {thing.size} {thing.name}.")
        else:
            clauses.append(f"{thing.name}: {thing.size}, at the {PLACES[thing.place]}.")
    return " ".join(clauses)
