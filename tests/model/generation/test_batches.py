"""A row of a batch answers as it does alone: any lengths, paddings, pictures and methods."""

from typing import Any

import pytest
import torch
from conftest import PARITY, Load, Loaded

from llava.errors import InputError
from llava.mm_utils import open_image, process_images, tokenizer_image_token

pytestmark = pytest.mark.shallow

PROMPTS = {
    "USER: <image>\nWhat color is the circle? ASSISTANT:": [0],
    "USER: hello there ASSISTANT:": [],
    "USER: <image>\nIs it? ASSISTANT:": [1],
    "USER: <image>\n and <image>\nwhat differs between those two images here? ASSISTANT:": [3, 2],
}
ZIP: dict[str, Any] = {"dominant": 54, "contextual": 10}
DROP: dict[str, Any] = {"dominant": 50, "contextual": 14, "layer_list": [2, 5, 9]}
DROP["image_token_list"] = [[33, 7], [20, 5], [9, 1]]
DROP_NEXT: dict[str, Any] = {"dominant": 42, "contextual": 6, "layer_list": [2, 4, 6]}
DROP_NEXT["image_token_list"] = [[150, 20], [90, 10], [40, 8]]
PYRAMID: dict[str, Any] = {"layer_list": [2, 5, 9], "image_token_ratio_list": [0.6, 0.3, 0.1]}
PYRAMID_NEXT: dict[str, Any] = {"layer_list": [2, 4, 6]}
LLAVA_15 = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP), ("pyramiddrop", PYRAMID)]
LLAVA_NEXT = [("none", {}), ("visionzip", ZIP), ("visiondrop", DROP_NEXT), ("pyramiddrop", PYRAMID_NEXT)]
CASES = [("llava-tiny-12l", *case) for case in LLAVA_15] + [("llava-tiny-next", *case) for case in LLAVA_NEXT]
SLOW_NEXT = [pytest.param(case, marks=pytest.mark.slow) if case in CASES[4:] else case for case in CASES]
GREEDY = {"do_sample": False, "eos_token_id": None}


class Batch:
    """All prompts with their pictures, together or one by one."""

    def __init__(self, loaded: Loaded) -> None:
        pictures = {at: open_image(str(PARITY / f"images/{at}.png")) for at in range(4)}
        config = loaded.model.config
        self.pixels = {at: process_images([image], loaded.processor, config)[0] for at, image in pictures.items()}
        self.sizes = {at: image.size for at, image in pictures.items()}
        self.ids = [tokenizer_image_token(text, loaded.tokenizer, return_tensors="pt") for text in PROMPTS]
        self.shown = list(PROMPTS.values())

    def row(self, number: int) -> dict[str, Any]:
        """Arguments for one prompt alone."""
        shown = self.shown[number]
        pictures = {"images": [self.pixels[at] for at in shown], "image_sizes": [self.sizes[at] for at in shown]}
        return {"input_ids": self.ids[number][None], **pictures}

    def together(self, side: str) -> dict[str, Any]:
        """Arguments for all, padded on a side."""
        width = max(map(len, self.ids))
        ids, mask = torch.zeros(4, width, dtype=torch.long), torch.zeros(4, width, dtype=torch.long)
        for number, row in enumerate(self.ids):
            place = slice(width - len(row), width) if side == "left" else slice(0, len(row))
            ids[number, place], mask[number, place] = row, 1
        shown = sum(self.shown, [])
        pictures = {"images": [self.pixels[at] for at in shown], "image_sizes": [self.sizes[at] for at in shown]}
        return {"input_ids": ids, "attention_mask": mask, **pictures}


@pytest.mark.parametrize("case", SLOW_NEXT, ids=lambda case: f"{case[0]}-{case[1]}")
def test_rows_equal_the_row_alone(load: Load, case: tuple[str, str, dict]) -> None:
    """Padded on either side."""
    checkpoint, name, settings = case
    loaded = load(checkpoint, name, **settings)
    batch = Batch(loaded)
    arguments = {**GREEDY, "max_new_tokens": 4, "output_logits": True, "return_dict_in_generate": True}
    alone = [loaded.model.generate(**batch.row(number), **arguments) for number in range(4)]
    for side in ("left", "right"):
        together = loaded.model.generate(**batch.together(side), **arguments)
        for number, own in enumerate(alone):
            rows = torch.stack([logits[number] for logits in together.logits])
            torch.testing.assert_close(rows, torch.cat(own.logits), atol=1e-4, rtol=0)
            assert torch.equal(together.sequences[number], own.sequences[0])


@pytest.mark.parametrize("case", CASES[:4], ids=lambda case: f"{case[0]}-{case[1]}")
def test_beams_of_a_row_equal_the_row_alone(load: Load, case: tuple[str, str, dict]) -> None:
    checkpoint, name, settings = case
    loaded = load(checkpoint, name, **settings)
    batch = Batch(loaded)
    arguments = {**GREEDY, "max_new_tokens": 4, "num_beams": 3}
    together = loaded.model.generate(**batch.together("left"), **arguments)
    for number in range(4):
        assert torch.equal(together[number], loaded.model.generate(**batch.row(number), **arguments)[0])


def test_rows_that_end_early_do_not_disturb_the_others(load: Load) -> None:
    loaded = load("llava-tiny-12l", "visiondrop", **DROP)
    batch = Batch(loaded)
    free = loaded.model.generate(**batch.together("left"), **GREEDY, max_new_tokens=6)
    end = int(free[0, 1])
    arguments = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": end, "pad_token_id": 0}
    got = loaded.model.generate(**batch.together("left"), **arguments)
    assert got[0].tolist()[:2] == free[0, :2].tolist() and not got[0, 2:].any()
    for number in range(1, 4):
        row = free[number].tolist()
        stop = row.index(end) + 1 if end in row else 6
        assert got[number, :stop].tolist() == row[:stop]


def test_a_picture_for_every_prompt_is_passed_over_where_the_prompt_has_none(load: Load) -> None:
    """LLaVA's way to batch text-only prompts."""
    loaded = load("llava-tiny-12l", "visionzip", dominant=54, contextual=10)
    batch = Batch(loaded)
    ids = [batch.ids[0], batch.ids[1], batch.ids[2]]
    width = max(map(len, ids))
    padded = torch.stack([torch.nn.functional.pad(row, (width - len(row), 0)) for row in ids])
    mask = torch.stack([(torch.arange(width) >= width - len(row)).long() for row in ids])
    arguments = {"input_ids": padded, "attention_mask": mask, **GREEDY, "max_new_tokens": 3}
    shown = [batch.pixels[0], batch.pixels[1]]
    want = loaded.model.generate(images=shown, **arguments)
    for filler in (batch.pixels[2], None):
        assert torch.equal(loaded.model.generate(images=[shown[0], filler, shown[1]], **arguments), want)
    stacked = torch.stack([shown[0], batch.pixels[2], shown[1]])
    assert torch.equal(loaded.model.generate(images=stacked, **arguments), want)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([], "got 0 images, expected 1, one per <image>"),
        ([0, 1], "got 2 images, expected 1, one per <image>"),
        (None, "got 0 images, expected 1, one per <image>"),
    ],
)
def test_pictures_and_prompts_must_match(load: Load, given: list[int] | None, complaint: str) -> None:
    loaded = load("llava-tiny-12l")
    batch = Batch(loaded)
    images = None if given is None else [batch.pixels[at] for at in given]
    with pytest.raises(InputError, match=complaint):
        loaded.model.generate(batch.ids[0][None], images=images, max_new_tokens=1)


def test_wrong_shapes_and_sizes_are_refused(load: Load) -> None:
    loaded = load("llava-tiny-next")
    batch = Batch(loaded)
    with pytest.raises(InputError, match=r"must be \(3, height, width\) or .* got \(336, 336\)"):
        loaded.model.generate(batch.ids[0][None], images=[torch.zeros(336, 336)], max_new_tokens=1)
    with pytest.raises(InputError, match="image_sizes must name every image: got 2, expected 1"):
        loaded.model.generate(batch.ids[0][None], images=[batch.pixels[0]], image_sizes=[(1, 1)] * 2)
    with pytest.raises(InputError, match="anyres images need image_sizes"):
        loaded.model.generate(batch.ids[0][None], images=[batch.pixels[0]], max_new_tokens=1)
    with pytest.raises(InputError, match="each prompt needs at least one token: got none in row 1"):
        mask = torch.tensor([[1, 1], [0, 0]])
        loaded.model.generate(torch.tensor([[1, 5], [0, 0]]), attention_mask=mask, max_new_tokens=1)
