"""OneVision without reduction answers as transformers' own class does with the same weights."""

import re

import pytest
import torch
from conftest import PARITY, Load, Loaded
from test_video_parity import frames_of
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, Qwen2Config, SiglipVisionConfig

from llava.mm_utils import open_image, process_images, tokenizer_image_token
from llava.model.trace import Trace

FOLDER = PARITY / "families" / "images"
VOCABULARY, IMAGE, VIDEO = 643, 644, 645
NAMES = (
    (r"^model\.mm_projector\.0", "model.multi_modal_projector.linear_1"),
    (r"^model\.mm_projector\.2", "model.multi_modal_projector.linear_2"),
    (r"^model\.vision_tower\.vision_tower\.", "model.vision_tower."),
    (r"^model\.(?=layers|norm|embed_tokens)", "model.language_model."),
)


def as_transformers(loaded: Loaded) -> LlavaOnevisionForConditionalGeneration:
    """transformers' class with the weights of ours."""
    ours, tower = loaded.model.config, loaded.model.get_vision_tower().config
    text = {name: getattr(ours, name) for name in Qwen2Config().to_dict() if hasattr(ours, name)}
    vision = tower.to_dict() | {"vision_use_head": False, "num_hidden_layers": tower.num_hidden_layers - 1}
    text.pop("model_type"), vision.pop("model_type")
    text |= {"vocab_size": VIDEO + 1, "dtype": "float32"}
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**vision),
        text_config=Qwen2Config(**text),
        image_grid_pinpoints=[pair[::-1] for pair in ours.image_grid_pinpoints],  # (height, width) there
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        tie_word_embeddings=True,
    )
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    state = loaded.model.state_dict()
    for pattern, name in NAMES:
        state = {re.sub(pattern, name, key): tensor for key, tensor in state.items()}
    table = torch.cat([state.pop("lm_head.weight"), torch.zeros(VIDEO + 1 - VOCABULARY, text["hidden_size"])])
    state |= {"lm_head.weight": table, "model.language_model.embed_tokens.weight": table}
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys and all("post_layernorm" in name for name in left.missing_keys)
    return model


def answers(loaded: Loaded, text: str, token: int, ours: dict, theirs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, V) of the last 8 prompt tokens, of our class and of transformers'."""
    ids = tokenizer_image_token(text, loaded.tokenizer, return_tensors="pt")
    trace = Trace()
    with torch.inference_mode():
        got = loaded.model(ids[None], **ours, trace=trace, logits_to_keep=8).logits[0]
        lengths = iter(span.length for span in trace.layout.spans)
        spread = [[token] * next(lengths) if at < 0 else [at] for at in ids.tolist()]
        whole = torch.tensor([sum(spread, [])])
        wanted = as_transformers(loaded)(input_ids=whole, **theirs, logits_to_keep=8).logits[0, :, :VOCABULARY]
    return got, wanted


@pytest.mark.parametrize("name", ["small.png", "tall.png", pytest.param("wide.png", marks=pytest.mark.slow)])
def test_a_picture_alone(name: str, load: Load) -> None:
    loaded, picture = load("families/ov-qwen"), open_image(FOLDER / name)
    pixels = process_images([picture], loaded.processor, loaded.model.config)
    sizes = torch.tensor([picture.size[::-1]])
    got, wanted = answers(
        loaded,
        "<image>\nWhat is it?",
        IMAGE,
        {"images": pixels, "image_sizes": [picture.size]},
        {"pixel_values": pixels, "image_sizes": sizes},
    )
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_pictures_of_one_view_with_a_newline_each(load: Load) -> None:
    """transformers ends each with a newline, as LLaVA does with a list of (3, h, w); LLaVA's stacked ones have none."""
    loaded = load("families/ov-qwen")
    pictures = [open_image(FOLDER / name) for name in ("small.png", "tall.png")]
    pixels = loaded.processor.preprocess(pictures, return_tensors="pt")["pixel_values"]
    sizes = [picture.size for picture in pictures]
    got, wanted = answers(
        loaded,
        "<image> and <image>\nWhat differs?",
        IMAGE,
        {"images": list(pixels), "image_sizes": sizes},
        {
            "pixel_values": pixels,
            "image_sizes": torch.tensor([size[::-1] for size in sizes]),
            "batch_num_images": torch.tensor([2]),
        },
    )
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_a_video(load: Load) -> None:
    loaded = load("families/ov-qwen")
    frames = frames_of(loaded)
    got, wanted = answers(
        loaded,
        "<image>\nWhat happens?",
        VIDEO,
        {"images": [frames], "modalities": ["video"]},
        {"pixel_values_videos": frames[None]},
    )
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)
