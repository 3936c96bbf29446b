"""What the stages train on: made when it is asked for, from the seed and the sample's number alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from llava.constants import IGNORE_INDEX
from llava.model.tokenizer import LlamaTokenizer
from playground.shapes.captions import caption
from playground.shapes.pictures import covered, draw
from playground.shapes.questions import ask
from playground.shapes.scene import CELL, COLORS, SHAPES, SIDE, SIZES, Scene, make_scene, random_source
from playground.shapes.text import VOCABULARY, captioned, conversation, encode

MEAN, STD = 0.5, 0.25
PATCH = 8
# A caption's end for the text tower. Were it LLaMA's 2, transformers' CLIP would read the caption's feature at the
# caption's highest id instead, which is somewhere in the middle.
CAPTION_END = VOCABULARY
Sample = dict[str, Any]
Maker = Callable[[Scene, np.random.RandomState, LlamaTokenizer], Sample]
# Numbers of scenes: every stage sees scenes of its own.
_STRIDE = 10_000_000


class Samples(Dataset):
    """`length` samples of a stage, in which the first `easy` differ in how many things there are.

    Each has `image` (3, 128, 128) and `image_size`, as in llava.train's own dataset, and what `make` makes.

    Args:
        make: scene, random numbers and tokenizer to what the stage learns.
        things, easy_things: fewest and most things of a picture, and of the first `easy` pictures.
    """

    def __init__(
        self,
        make: Maker,
        tokenizer: LlamaTokenizer,
        length: int,
        seed: int = 0,
        stage: int = 0,
        easy: int = 0,
        things: tuple[int, int] = (2, 6),
        easy_things: tuple[int, int] = (1, 3),
        split: str = "train",
    ) -> None:
        self.make, self.tokenizer, self.length = make, tokenizer, length
        self.seed, self.stage, self.easy, self.split = seed, stage, easy, split
        self.things, self.easy_things = things, easy_things

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        place = self.stage * _STRIDE + number
        fewest, most = self.easy_things if number < self.easy else self.things
        scene = make_scene(self.seed, self.split, place, fewest, most)
        source = random_source(self.seed, 200 + self.stage, number)
        return pixels_of(scene) | self.make(scene, source, self.tokenizer)


def pixels_of(scene: Scene) -> Sample:
    """A scene's picture as its model's image processor would give it."""
    pixels = torch.from_numpy(draw(scene)).permute(2, 0, 1).float()
    return {"image": (pixels / 255 - MEAN) / STD, "image_size": (SIDE, SIDE)}


def described(scene: Scene, source: np.random.RandomState, tokenizer: LlamaTokenizer) -> Sample:
    """A caption to be written."""
    return encode(captioned(caption(scene, source)), tokenizer, "plain")


def questioned(scene: Scene, source: np.random.RandomState, tokenizer: LlamaTokenizer) -> Sample:
    """A conversation of two questions of each kind, as far as the scene has them."""
    return encode(conversation(ask(scene, source, per_kind=2), source), tokenizer)


def matched(scene: Scene, source: np.random.RandomState, tokenizer: LlamaTokenizer) -> Sample:
    """A caption to be told from those of other pictures, and what every patch shows."""
    ids = torch.tensor([*tokenizer(caption(scene, source)).input_ids, CAPTION_END])
    return {"input_ids": ids, "patches": patch_targets(scene)}


def patch_targets(scene: Scene) -> torch.Tensor:
    """(256, 5) int64 per patch: color, shape and size of what covers it (0: nothing), 1 for a centre, and its place."""
    rows = SIDE // PATCH
    shares = covered(scene, PATCH).reshape(len(scene.things), -1)
    targets = np.zeros((rows * rows, 5), dtype=np.int64)
    third = ((np.arange(rows) + 0.5) * PATCH // CELL).astype(np.int64)
    targets[:, 4] = (third[:, None] * 3 + third).flatten()
    names = [
        (1 + COLORS.index(thing.color), 1 + SHAPES.index(thing.shape), 1 + SIZES.index(thing.size))
        for thing in scene.things
    ]
    owner = shares.argmax(axis=0)
    filled = shares.max(axis=0) >= 0.15
    targets[filled, :3] = np.array(names)[owner[filled]]
    for thing in scene.things:
        targets[int(thing.y) // PATCH * rows + int(thing.x) // PATCH, 3] = 1
    return torch.from_numpy(targets)


def collate(samples: list[Sample]) -> dict[str, Any]:
    """One batch for what llava.train has no collator for: `patches` to learn from, held-out questions to judge by."""
    batch: dict[str, Any] = {"images": torch.stack([sample["image"] for sample in samples])}
    lengths = torch.tensor([len(sample["input_ids"]) for sample in samples])
    for key, filler in (("input_ids", 0), ("labels", IGNORE_INDEX)):
        if key in samples[0]:
            texts = [sample[key] for sample in samples]
            batch[key] = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=filler)
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    if "patches" in samples[0]:
        batch["patches"] = torch.stack([sample["patches"] for sample in samples])
    return batch
