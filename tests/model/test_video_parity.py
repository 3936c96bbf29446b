"""What LLaVA-NeXT's own code computes of videos: frames as views, pooled, with newlines in four places."""

import pytest
import torch
from conftest import PARITY, Load, Loaded
from test_family_parity import agrees, recorded

from llava.mm_utils import open_image, tokenizer_image_token

FRAMES = [f"f{number}.png" for number in range(4)]
NEWLINES = {"one-token": "one_token", "no-token": "no_token", "frame": "frame", "grid": "grid"}


def frames_of(loaded: Loaded) -> torch.Tensor:
    """(4, 3, h, w), the frames of the pack's video, squeezed as its processor does."""
    pictures = [open_image(PARITY / "families" / "images" / name) for name in FRAMES]
    return loaded.processor.preprocess(pictures, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize("case", NEWLINES)
def test_frames_become_one_image(case: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load("families/video-llama")
    monkeypatch.setattr(loaded.model.config, "mm_newline_position", NEWLINES[case], raising=False)
    wanted, (prompt,) = recorded(f"video-{case}")
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")
    assert torch.equal(ids, wanted["input_ids"])
    frames = frames_of(loaded)
    assert torch.equal(frames[..., 5::16, 5::16], wanted["pixel_sample.0"])
    assert loaded.model.geometry_for(4).most_tokens == len(wanted["inputs_embeds"]) - len(ids) + 1
    agrees(loaded, wanted, ids[None], images=[frames], modalities=["video"])
