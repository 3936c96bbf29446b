"""Another half for a model's CLIP, of random weights: text tower, projections, and a tokenizer of characters."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from llava.model.multimodal_encoder.clip_text import ClipHalf, give_clip_half


class Letters:
    """A tokenizer of characters, between a first id and a last one, the largest."""

    def __call__(self, texts: list[str]) -> Any:
        return SimpleNamespace(input_ids=[[0, *(ord(letter) % 500 + 1 for letter in text), 525] for text in texts])


def with_clip_half(model: Any) -> Any:
    """Give a model's tower another half of CLIP; the model."""
    torch.manual_seed(0)
    tower = model.get_vision_tower()
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = CLIPTextConfig(vocab_size=526, projection_dim=16, bos_token_id=0, eos_token_id=2, **shape)
    half = ClipHalf(CLIPTextModelWithProjection(config), torch.randn(16, tower.config.hidden_size), Letters())
    give_clip_half(tower, half)
    return model
