"""A Qwen2.5-VL of random weights, for what a reduction costs and saves on transformers' road."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

WORDS, PICTURE = 900, 990
PATCH = 14


@dataclass(frozen=True)
class HfShape:
    """Sizes of the model: as deep as the published 7B one, a seventh as wide; head widths as there or nearly."""

    layers: int = 28
    width: int = 512
    intermediate: int = 1376
    heads: int = 8
    vision_layers: int = 32
    vision_width: int = 160
    vision_heads: int = 2


def random_qwen(shape: HfShape, device: str, dtype: torch.dtype) -> Any:
    """The model; every eighth block of its tower looks at whole pictures, the others at windows of 8 x 8 patches."""
    whole = list(range(7, shape.vision_layers, 8)) or [shape.vision_layers - 1]
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": 2 * shape.vision_width,
        "num_heads": shape.vision_heads,
        "out_hidden_size": shape.width,
        "window_size": 8 * PATCH,
        "fullatt_block_indexes": whole,
    }
    half = shape.width // shape.heads // 2
    text = {
        "hidden_size": shape.width,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": max(1, shape.heads // 4),
        "vocab_size": 1000,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8],
        },
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    marks = {"image_token_id": PICTURE, "video_token_id": 991, "vision_start_token_id": 992, "vision_end_token_id": 993}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=text, **marks)
    return Qwen2_5_VLForConditionalGeneration(config).to(device, dtype).eval()


def prompt_of(model: Any, tokens: int, words: int) -> dict[str, torch.Tensor]:
    """A square picture of noise of about so many tokens among so many words, as the processor gives it."""
    draw = torch.Generator().manual_seed(1)
    side = 2 * max(2, round(tokens**0.5))
    ids = torch.randint(1, WORDS, (words,), generator=draw)
    ids = torch.cat([ids[: words // 5], torch.full((side * side // 4,), PICTURE), ids[words // 5 :]])[None]
    pixels = torch.randn(side * side, 2 * 3 * PATCH * PATCH, generator=draw)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": (ids == PICTURE).int()}
    given |= {"pixel_values": pixels.to(model.dtype), "image_grid_thw": torch.tensor([[1, side, side]])}
    return {name: value.to(model.device) for name, value in given.items()}
