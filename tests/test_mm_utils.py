"""Images, prompts and paths on their way to the model; pixels are compared with the official ones bit for bit."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from llava.errors import InputError
from llava.mm_utils import (
    expand2square,
    get_model_name_from_path,
    load_image_from_base64,
    open_image,
    process_images,
)
from llava.utils import disable_torch_init

PARITY = Path(__file__).parent / "parity"
PAD = SimpleNamespace(image_aspect_ratio="pad")


@pytest.fixture(scope="module")
def processor() -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil.from_pretrained(PARITY / "llava-tiny" / "vision_tower")


@pytest.mark.parametrize("case, name", [("visiondrop-32", "0.png"), ("visiondrop-64-portrait", "1.png")])
def test_padded_pixels_are_llavas(case: str, name: str, processor: CLIPImageProcessorPil) -> None:
    pixels = process_images([open_image(PARITY / "images" / name)], processor, PAD)
    assert isinstance(pixels, torch.Tensor) and pixels.shape == (1, 3, 336, 336)
    assert torch.equal(pixels[0], load_file(PARITY / f"{case}.safetensors")["pixel_values"])


@pytest.mark.parametrize("config", [SimpleNamespace(), SimpleNamespace(image_aspect_ratio="square")])
def test_other_modes_crop_the_centre(config: SimpleNamespace, processor: CLIPImageProcessorPil) -> None:
    image = open_image(PARITY / "images" / "3.png")  # 900 x 420; scaled to 720 x 336, of which 192..528 is kept
    scaled = image.resize((720, 336), Image.Resampling.BICUBIC).crop((192, 0, 528, 336))
    pixels = process_images([image, scaled], processor, config)
    assert torch.equal(pixels[0], pixels[1]) and pixels[0].shape == (3, 336, 336)


@pytest.mark.parametrize("ratio", ["anyres_max", "Pad", "highres"])
def test_an_unknown_aspect_ratio_is_refused(ratio: str, processor: CLIPImageProcessorPil) -> None:
    with pytest.raises(
        InputError, match="image_aspect_ratio must be known: got .*, or anyres_max_N|'highres' .* not built here"
    ):
        process_images([Image.new("RGB", (4, 4))], processor, SimpleNamespace(image_aspect_ratio=ratio))


@pytest.mark.parametrize(
    ("images", "got"),
    [
        ([], "got none"),
        (Image.new("RGB", (4, 4)), "got a Image"),
        (["photo.jpg"], "got a str"),
        ([Image.new("RGB", (4, 4)), None], "got a NoneType"),
        ([torch.zeros(3, 4, 4)], "got a Tensor"),
        (torch.zeros(1, 3, 4, 4), "got a Tensor"),
        (None, "got a NoneType"),
    ],
)
def test_what_is_no_list_of_pictures_is_refused(images: Any, got: str, processor: CLIPImageProcessorPil) -> None:
    with pytest.raises(InputError, match=f"process_images needs a list of at least one image.* {got};"):
        process_images(images, processor, PAD)


@pytest.mark.parametrize("ratio", [None, "pad", "anyres"])
def test_a_picture_without_pixels_is_refused(ratio: str | None, processor: CLIPImageProcessorPil) -> None:
    config = SimpleNamespace(image_aspect_ratio=ratio, image_grid_pinpoints=[[672, 336]])
    with pytest.raises(InputError, match="an image must have pixels: got one of 0 x 5"):
        process_images([Image.new("RGB", (0, 5))], processor, config)


@pytest.mark.parametrize("ratio", [None, "pad", "anyres"])
def test_grey_of_16_bits_has_the_pixels_of_8(ratio: str | None, processor: CLIPImageProcessorPil) -> None:
    config = SimpleNamespace(image_aspect_ratio=ratio, image_grid_pinpoints=[[672, 336]])
    narrow = np.arange(0, 250, 5, dtype=np.uint8).reshape(5, 10)
    wide = Image.fromarray(narrow.astype(np.uint16) * 257)
    made, wanted = (process_images([picture], processor, config) for picture in (wide, Image.fromarray(narrow)))
    assert isinstance(made, torch.Tensor) and isinstance(wanted, torch.Tensor) and torch.equal(made, wanted)


def test_the_square_around_a_picture_is_measured_before_it_is_made(processor: CLIPImageProcessorPil) -> None:
    with pytest.raises(InputError, match="the square around an image of 65000 x 1 must have at most 178,956,970"):
        process_images([Image.new("RGB", (65000, 1))], processor, PAD)


def test_running_out_of_memory_is_one_line(processor: CLIPImageProcessorPil, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "new", full)
    with pytest.raises(InputError, match="pictures must fit into memory: 900 x 420 pixels do not"):
        process_images([open_image(PARITY / "images" / "3.png")], processor, PAD)


def test_a_batch_equals_its_images_alone(processor: CLIPImageProcessorPil) -> None:
    images = [open_image(PARITY / "images" / f"{i}.png") for i in range(4)]
    together = process_images(images, processor, PAD)
    for pixels, image in zip(together, images, strict=True):
        assert torch.equal(pixels, process_images([image], processor, PAD)[0])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_any_mode_is_seen_as_rgb_without_alpha(mode: str, processor: CLIPImageProcessorPil) -> None:
    image = open_image(PARITY / "images" / "0.png").resize((64, 40)).convert(mode)
    if "A" in mode:
        image.putalpha(60)
    for config in (PAD, SimpleNamespace()):
        expected = process_images([image.convert("RGB")], processor, config)[0]
        assert torch.equal(process_images([image], processor, config)[0], expected)


def test_no_image_is_refused(processor: CLIPImageProcessorPil) -> None:
    with pytest.raises(InputError, match="at least one image"):
        process_images([], processor, PAD)


@pytest.mark.parametrize("size, box", [((5, 2), (0, 1, 5, 3)), ((2, 5), (1, 0, 3, 5)), ((4, 2), (0, 1, 4, 3))])
def test_square_gives_top_and_left_the_smaller_half(size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    square = expand2square(Image.new("RGB", size, "white"), (0, 0, 0))
    assert square.size == (max(size), max(size)) and square.getbbox() == box


def test_square_colour_and_identity(processor: CLIPImageProcessorPil) -> None:
    mean = tuple(int(255 * value) for value in processor.image_mean)
    assert mean == (122, 116, 104)
    assert expand2square(Image.new("RGB", (1, 3), "white"), mean).getpixel((0, 1)) == mean
    image = Image.new("RGB", (3, 3))
    assert expand2square(image, mean) is image


@pytest.mark.parametrize(
    "path, name",
    [
        ("liuhaotian/llava-v1.5-7b", "llava-v1.5-7b"),
        ("/models/llava-v1.5-7b/", "llava-v1.5-7b"),
        ("llava-v1.5-7b", "llava-v1.5-7b"),
        ("out/llava-lora/checkpoint-900/", "llava-lora_checkpoint-900"),
        ("checkpoint-900", "checkpoint-900"),
    ],
)
def test_model_name(path: str, name: str) -> None:
    assert get_model_name_from_path(path) == name


def test_open_image_converts_and_base64_agrees() -> None:
    path = PARITY / "images" / "1.png"
    image = open_image(path)
    assert image.mode == "RGB" and image.size == (333, 512)
    assert load_image_from_base64(base64.b64encode(path.read_bytes()).decode()) == image


def test_damaged_images_are_named(tmp_path: Path) -> None:
    whole = (PARITY / "images" / "0.png").read_bytes()
    jpeg = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(jpeg, "JPEG")
    broken_png = whole.replace(b"IDAT", b"ID\x00T")  # Pillow answers with a SyntaxError
    for i, data in enumerate([b"", b"no image", whole[: len(whole) // 2], jpeg.getvalue()[:-200], broken_png]):
        path = tmp_path / f"{i}.png"
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"'.*{path.name}' must be a complete image") as error:
            open_image(path)
        assert "\n" not in str(error.value)
        with pytest.raises(InputError, match="base64 text must be a complete image"):
            load_image_from_base64(base64.b64encode(data))


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg' does not exist"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="an image must be a file: '.*' is a folder"):
        open_image(tmp_path)
    with pytest.raises(InputError, match="must be base64 text"):
        load_image_from_base64("abc")


def test_disable_torch_init_leaves_torch_alone() -> None:
    before = torch.nn.Linear.reset_parameters, torch.nn.LayerNorm.reset_parameters
    disable_torch_init()
    assert (torch.nn.Linear.reset_parameters, torch.nn.LayerNorm.reset_parameters) == before
