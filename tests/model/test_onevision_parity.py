"""What LLaVA-NeXT's own code computes with OneVision: tiles that shrink, pictures squared beside others, a video."""

import pytest
import torch
from conftest import PARITY, Load
from test_family_parity import agrees, recorded
from test_video_parity import frames_of

from llava.mm_utils import open_image, process_images, process_prompt_images, tokenizer_image_token

FOLDER = PARITY / "families" / "images"
CASES = {
    "ov-small": FOLDER / "small.png",  # 300 x 260
    "ov-landscape": PARITY / "images" / "0.png",
    "ov-tall": FOLDER / "tall.png",
    "ov-wide-pooled": FOLDER / "wide.png",  # 16 tiles, shrunk to the patches of nine
}


@pytest.mark.parametrize("case", CASES)
def test_a_picture_alone_is_seen_in_tiles(case: str, load: Load) -> None:
    loaded = load("families/ov-qwen")
    wanted, (prompt,) = recorded(case)
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    picture = open_image(CASES[case])
    pixels = process_images([picture], loaded.processor, loaded.model.config)
    assert torch.equal(pixels[0][..., 5::16, 5::16], wanted["pixel_sample.0"])
    agrees(loaded, wanted, ids[None], images=pixels, image_sizes=[picture.size])


def test_pictures_beside_others_are_squared(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("families/ov-qwen")
    wanted, _ = recorded("ov-two-images-pad")
    pictures = [open_image(PARITY / "images" / name) for name in ("0.png", "1.png")]
    sizes = [picture.size for picture in pictures]
    pixels, modalities = process_prompt_images(pictures, loaded.processor, loaded.model.config)
    given = {"images": pixels, "image_sizes": sizes, "modalities": modalities}
    agrees(loaded, wanted, wanted["input_ids"][None], **given)
    monkeypatch.setattr(loaded.model.config, "image_aspect_ratio", "pad")  # as LLaVA's harness does
    stacked = process_images(pictures, loaded.processor, loaded.model.config)
    assert torch.equal(stacked[0][..., 5::16, 5::16], wanted["pixel_sample.0"])
    agrees(loaded, wanted, wanted["input_ids"][None], images=stacked, image_sizes=sizes)


def test_a_picture_alone_is_prepared_as_it_is_by_process_images(load: Load) -> None:
    loaded = load("families/ov-qwen")
    picture = open_image(CASES["ov-small"])
    pixels, modalities = process_prompt_images([picture], loaded.processor, loaded.model.config)
    assert modalities == ["image"] and len(pixels) == 1
    assert torch.equal(pixels[0], process_images([picture], loaded.processor, loaded.model.config)[0])


def test_a_video(load: Load) -> None:
    loaded = load("families/ov-qwen")
    wanted, (prompt,) = recorded("ov-video")
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    frames = frames_of(loaded)
    assert torch.equal(frames[..., 5::16, 5::16], wanted["pixel_sample.0"])
    sizes = [(336, 336)] * 4  # one for each frame, as OneVision's examples have it
    agrees(loaded, wanted, ids[None], images=[frames], image_sizes=sizes, modalities=["video"])
