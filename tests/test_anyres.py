"""Geometry of `anyres`, by cases worked out by hand and by the official pixels."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.anyres import divide_to_patches, process_anyres_image, resize_and_pad_image
from llava.errors import InputError
from llava.mm_utils import open_image, process_images
from llava.pinpoints import Size, get_anyres_image_grid_shape, parse_pinpoints, select_best_resolution

PARITY = Path(__file__).parent / "parity"
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


@pytest.fixture(scope="module")
def processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil.from_pretrained(PARITY / "llava-tiny-next" / "vision_tower")


@pytest.mark.parametrize("case, name, views", [("llava-next", "3.png", 4), ("llava-next-portrait", "1.png", 3)])
def test_pixels_are_llavas(case: str, name: str, views: int, processor: CLIPImageProcessorPil) -> None:
    config = SimpleNamespace(image_aspect_ratio="anyres", image_grid_pinpoints=PINPOINTS)
    pixels = process_images([open_image(PARITY / "images" / name)], processor, config)
    assert isinstance(pixels, torch.Tensor) and pixels.shape == (1, views, 3, 336, 336)
    assert torch.equal(pixels[0], load_file(PARITY / f"{case}.safetensors")["pixel_values"])


@pytest.mark.parametrize(
    "size, best",
    [
        ((1000, 1000), (672, 672)),  # 672 * 672 shown; every other pinpoint shows 336 * 336
        ((900, 420), (1008, 336)),  # 720 * 336 = 241920 shown, against 672 * 313 = 210336 at (672, 336)
        ((333, 512), (336, 672)),  # enlarged: all 333 * 512 shown at three pinpoints, this one wastes least
        ((300, 400), (336, 672)),  # all shown here and at (672, 672), which wastes more
        ((672, 336), (672, 336)),  # nothing wasted
        ((100, 50), (336, 672)),  # (336, 672) and (672, 336) show and waste the same: the first in the list
        ((5000, 1), (336, 672)),  # nothing is shown anywhere, the height truncates to 0: least waste, then the first
    ],
)
def test_best_resolution(size: Size, best: Size) -> None:
    assert select_best_resolution(size, PINPOINTS) == best


def test_a_tie_follows_the_order_of_the_list() -> None:
    assert select_best_resolution((100, 50), PINPOINTS[::-1]) == (672, 336)


@pytest.mark.parametrize(
    "size, shape",
    [
        ((1000, 1000), (2, 2)),
        ((900, 420), (3, 1)),
        ((333, 512), (1, 2)),
        ((672, 336), (2, 1)),
        ((100, 900), (1, 3)),
    ],
)
@pytest.mark.parametrize("pinpoints", [PINPOINTS, str(PINPOINTS), str([tuple(pair) for pair in PINPOINTS])])
def test_grid_shape_is_columns_then_rows(size: Size, shape: Size, pinpoints: str | list[list[int]]) -> None:
    assert get_anyres_image_grid_shape(size, pinpoints, 336) == shape


@pytest.mark.parametrize(
    "size, target, box",
    [
        ((900, 420), (1008, 336), (144, 0, 864, 336)),  # 900 * 0.8 = 720 wide
        ((3, 2), (9, 7), (0, 0, 9, 6)),  # one row left over: the top gets none of it
        ((7, 3), (10, 10), (0, 2, 10, 7)),  # 3 * 10 / 7 = 4.3 rows, rounded up to 5
        ((3, 7), (10, 10), (2, 0, 7, 10)),  # the same, upright
        ((300, 100), (672, 336), (0, 55, 672, 280)),  # 100 * (672 / 300) is a hair above 224 in floating point: 225
        ((10, 10), (10, 10), (0, 0, 10, 10)),
    ],
)
def test_resized_image_lies_centred_on_black(size: Size, target: Size, box: tuple[int, int, int, int]) -> None:
    placed = resize_and_pad_image(Image.new("RGB", size, "white"), target)
    assert placed.size == target
    assert placed.getbbox() == box  # the smallest box that holds all that is not black
    assert placed.crop(box).getextrema() == ((255, 255),) * 3


def test_names_and_arguments_are_llavas() -> None:
    from llava import mm_utils
    from llava.model import llava_arch

    wanted = {
        "select_best_resolution": "original_size possible_resolutions",
        "resize_and_pad_image": "image target_resolution",
        "divide_to_patches": "image patch_size",
        "get_anyres_image_grid_shape": "image_size grid_pinpoints patch_size",
        "process_anyres_image": "image processor grid_pinpoints",
        "load_image_from_base64": "image",
        "expand2square": "pil_img background_color",
        "process_images": "images image_processor model_cfg",
        "tokenizer_image_token": "prompt tokenizer image_token_index return_tensors",
    }
    found = {name: " ".join(inspect.signature(getattr(mm_utils, name)).parameters) for name in wanted}
    assert found == wanted
    assert " ".join(inspect.signature(llava_arch.unpad_image).parameters) == "tensor original_size"


def test_tiles_come_row_by_row() -> None:
    image = Image.new("L", (6, 4))
    image.putdata(range(24))
    tiles = divide_to_patches(image, 2)
    assert [tile.getpixel((0, 0)) for tile in tiles] == [0, 2, 4, 12, 14, 16]
    assert [tile.size for tile in tiles] == [(2, 2)] * 6


def test_views_go_through_the_processor_one_by_one(processor: CLIPImageProcessorPil) -> None:
    image = open_image(PARITY / "images" / "0.png")  # 500 x 375, shown best at 672 x 672
    views = process_anyres_image(image, processor, PINPOINTS)
    crops = [image.resize((336, 336)), *divide_to_patches(resize_and_pad_image(image, (672, 672)), 336)]
    assert views.shape == (5, 3, 336, 336)
    for view, crop in zip(views, crops, strict=True):
        assert torch.equal(view, processor.preprocess(crop, return_tensors="pt")["pixel_values"][0])


@pytest.mark.parametrize("sizes, counts", [([(900, 420), (333, 512)], [4, 3]), ([(900, 420), (800, 200)], 4)])
def test_batches(sizes: list[Size], counts: list[int] | int, processor: CLIPImageProcessorPil) -> None:
    config = SimpleNamespace(image_aspect_ratio="anyres", image_grid_pinpoints=str(PINPOINTS))
    pixels = process_images([Image.new("RGB", size, "red") for size in sizes], processor, config)
    if isinstance(counts, int):
        assert isinstance(pixels, torch.Tensor) and pixels.shape == (2, counts, 3, 336, 336)
    else:
        assert isinstance(pixels, list) and [len(views) for views in pixels] == counts


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "[[336]]",
        "[336, 672]",
        "[[336, -1]]",
        "[[336.0, 672]]",
        "[(336, 6",
        "__import__('os')",
        "[(336, 672), (-672, 336)]",
        "[[336, 672], [672, 336], 5]",
        "[" * 9000,
        "[" * 9000 + "336" + "]" * 9000,
        "[[" + "9" * 5000 + ", 336]]",
        [],
        [["336", "672"]],
        [[336, True]],
        [[336, 672, 1008]],
        {"336": 672},
        336,
        "(1x1)",
        "(1x1),(2x2)",
        "(0x1),...,(2x2)",
        "(3x3),...,(2x2)",
        "(1x1),...,(6x6),...,(9x9)",
        "(1x1),...,(999x999)",
        "(1x1),...,(99999999999999999999x2)",
    ],
)
def test_unreadable_pinpoints(text: Any) -> None:
    with pytest.raises(InputError, match=r"image_grid_pinpoints must list .* got .* expected"):
        parse_pinpoints(text, 336)


def test_a_range_is_every_grid_between_its_ends() -> None:
    """LLaVA-NeXT's form: grids in tiles, those of one column first; the order decides between equals."""
    wanted = [(336, 336), (336, 672), (672, 336), (672, 672), (1008, 336), (1008, 672)]
    assert parse_pinpoints("(1x1),...,(3x2)", 336) == wanted
    assert parse_pinpoints(" (1x1), ..., (3x2) ", 336) == wanted
    assert parse_pinpoints("(2x2),...,(2x2)", 24) == [(48, 48)]
    assert len(parse_pinpoints("(1x1),...,(6x6)", 384)) == 36
    assert get_anyres_image_grid_shape((1000, 500), "(1x1),...,(6x6)", 336) == (3, 2)


def test_pinpoints_may_come_twice() -> None:
    assert get_anyres_image_grid_shape((100, 50), [[336, 672], [336, 672], [672, 336]], 336) == (1, 2)


def test_a_pinpoint_larger_than_any_picture_is_refused() -> None:
    with pytest.raises(InputError, match=r"got 33600000 x 336 pixels, expected multiples .* of at most 178,956,970"):
        parse_pinpoints([[33600000, 336]], 336)


def test_pinpoints_must_be_whole_tiles() -> None:
    with pytest.raises(InputError, match=r"got 300 x 672 pixels, expected multiples of the vision tower's 336"):
        get_anyres_image_grid_shape((100, 300), [[300, 672]], 336)
    with pytest.raises(InputError, match="got 5 x 4"):
        divide_to_patches(Image.new("RGB", (5, 4)), 2)
