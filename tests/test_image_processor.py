"""Sizes of image processors in every form, and pictures that would grow beyond measure."""

from typing import Any

import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.anyres import process_anyres_image
from llava.errors import InputError
from llava.image_processor import check_view_edge, keeps_proportions, resized_edge, view_edge
from llava.mm_utils import process_images

SQUARE = {"height": 336, "width": 336}
PINPOINTS = [[336, 672], [672, 336], [672, 672]]


@pytest.mark.parametrize("size", [336, {"shortest_edge": 336}, SQUARE])
@pytest.mark.parametrize("crop", [336, SQUARE])
def test_every_form_of_a_size_makes_the_same_views(size: Any, crop: Any) -> None:
    plain = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=SQUARE)
    processor = CLIPImageProcessorPil(size=size, crop_size=crop)
    assert (view_edge(processor), resized_edge(processor)) == (336, 336)
    check_view_edge(processor, 336)
    image = Image.effect_noise((500, 300), 90).convert("RGB")
    made = process_anyres_image(image, processor, PINPOINTS)
    assert made.shape == (3, 3, 336, 336)
    assert torch.equal(made, process_anyres_image(image, plain, PINPOINTS))


def test_a_processor_that_does_not_crop_is_read_by_its_size() -> None:
    processor = CLIPImageProcessorPil(size=SQUARE, do_center_crop=False)  # crop_size is then CLIP's 224
    assert view_edge(processor) == 336
    assert process_anyres_image(Image.new("RGB", (500, 300)), processor, PINPOINTS).shape == (3, 3, 336, 336)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        (
            {"size": 336, "crop_size": {"height": 336, "width": 300}},
            "crop_size .* must be a square: got {'height': 336,",
        ),
        ({"size": {"longest_edge": 336}, "crop_size": 336}, "size .* must be a square: got {'longest_edge': 336}"),
        ({"size": {"height": 336, "width": 224}, "crop_size": 336}, "size .* must be a square"),
    ],
)
def test_what_is_no_square_is_refused(sizes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint + ".* mend preprocessor_config.json"):
        process_anyres_image(Image.new("RGB", (500, 300)), CLIPImageProcessorPil(**sizes), PINPOINTS)


@pytest.mark.parametrize("size", [None, True, 0, -336, 336.5, "336", [336, 336], {}, 10**9])
def test_what_is_no_size_is_refused(size: Any) -> None:
    class Damaged:
        crop_size, image_mean = size, (0, 0, 0)

    with pytest.raises(InputError, match="crop_size of the image processor must be a square: got"):
        view_edge(Damaged())  # type: ignore[arg-type]


def test_a_processor_of_another_tower_is_refused() -> None:
    with pytest.raises(InputError, match="got 224 x 224 pixels, expected 336 x 336"):
        check_view_edge(CLIPImageProcessorPil(), 336)


def test_a_thin_picture_does_not_grow_beyond_measure() -> None:
    """Its short side is made 336 before the crop: 65000 x 1 would be 21,840,000 pixels wide."""
    processor, thin = CLIPImageProcessorPil(size=336, crop_size=336), Image.new("RGB", (65000, 1))
    with pytest.raises(InputError, match="an image of 65000 x 1, resized for the model, must have at most 178,956,970"):
        process_images([thin], processor, object())
    squeezing = CLIPImageProcessorPil(size=SQUARE, crop_size=336)
    assert not keeps_proportions(squeezing)
    assert process_images([thin], squeezing, object()).shape == (1, 3, 336, 336)  # type: ignore[union-attr]
