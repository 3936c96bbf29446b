"""VisionZip and VisionDrop on transformers' LLaVA-NeXT and OneVision against the computation of `tiles_by_hand`."""

from typing import Any

import pytest
import torch
from by_hand import decoder
from tiles_by_hand import reduced_tokens, scaled, whole_tokens
from tiny_hf import MODELS, PICTURE, inputs

import llava.hf

TILED = ["llava_next", "onevision"]
LAYERS, PAIRS = [1, 3], [(24, 6), (9, 3)]
# A wide picture and a square one, then a tall one: of two, four and four tiles.
BATCHES = [[[0], [3]], [[1]]]
MOST_VIEWS = 5
# Tokens of the largest picture: 36 and twelve rows of 13; of OneVision's, which are shrunk, 36 and six rows of 7.
LARGEST = {"llava_next": 36 + 12 * 13, "onevision": 36 + 6 * 7}
every_class = pytest.mark.parametrize("name", TILED)
every_batch = pytest.mark.parametrize("rows", BATCHES, ids=["wide and square", "tall"])


def logits(
    model: Any,
    given: dict[str, torch.Tensor],
    row: int,
    first: tuple[int, int],
    largest: int = 0,
    pairs: list[tuple[int, int]] | None = None,
) -> torch.Tensor:
    """Those of the last token of a row with one picture, of which `first` leaves dominant and contextual tokens."""
    ids = given["input_ids"][row][given["attention_mask"][row].bool()]
    places = (ids == PICTURE).nonzero().flatten().tolist()
    views, size = given["pixel_values"][row], tuple(given["image_sizes"][row].tolist())
    whole = whole_tokens(model, views, size)
    assert len(whole) == len(places)
    tokens = reduced_tokens(model, views, size, *first) if any(first) else whole
    table = model.get_input_embeddings()
    embeds = torch.cat([table(ids[: places[0]]), tokens, table(ids[places[-1] + 1 :])])
    stages = {layer: scaled(pair, len(tokens), largest) for layer, pair in zip(LAYERS, pairs or [])}
    return decoder(model, embeds, places[0], len(tokens), None, stages, [])


@every_class
@every_batch
@torch.no_grad()
def test_newlines_and_padding_by_hand_are_those_of_the_original(name: str, rows: list[list[int]]) -> None:
    """So that the computation by hand is of this class at all."""
    model = MODELS[name]()
    given = inputs(model, rows)
    got = model(**given).logits[:, -1]
    for row in range(len(rows)):
        torch.testing.assert_close(got[row], logits(model, given, row, (0, 0)), atol=1e-5, rtol=0)


@every_class
@every_batch
@torch.no_grad()
def test_visionzip(name: str, rows: list[list[int]]) -> None:
    model = MODELS[name]()
    given = inputs(model, rows)
    got = llava.hf.reduce(model, "visionzip", dominant=9, contextual=3)(**given).logits[:, -1]
    for row in range(len(rows)):
        torch.testing.assert_close(got[row], logits(model, given, row, (9, 3)), atol=1e-5, rtol=0)


@every_class
@every_batch
@pytest.mark.parametrize("first", [(9, 3), (0, 0)], ids=["in the tower too", "in the LLM alone"])
@torch.no_grad()
def test_visiondrop(name: str, rows: list[list[int]], first: tuple[int, int]) -> None:
    """Stages between layers are of a picture's own tokens, newlines among them where the tower kept all."""
    model = MODELS[name]()
    given = inputs(model, rows)
    largest = MOST_VIEWS * sum(first) or LARGEST[name]
    settings = {"dominant": first[0], "contextual": first[1], "layer_list": LAYERS}
    reduced = llava.hf.reduce(model, "visiondrop", **settings, image_token_list=[list(pair) for pair in PAIRS])
    got = reduced(**given).logits[:, -1]
    for row in range(len(rows)):
        wanted = logits(model, given, row, first, largest, PAIRS)
        torch.testing.assert_close(got[row], wanted, atol=1e-5, rtol=0)
