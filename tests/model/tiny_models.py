"""Models of random weights that take milliseconds, for tests about counts."""

from typing import Any

import torch

from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM

PATCH = 4


def tiny_model(side: int, layers: int, **keys: Any) -> LlavaLlamaForCausalLM:
    """A LLaVA whose views are `side` x `side` patches of 4 pixels; `keys` go into its configuration."""
    vision = {
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"patch_size": PATCH, "image_size": side * PATCH, "projection_dim": 16},
    }
    torch.manual_seed(0)
    config = LlavaConfig(
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2},
        **{"vocab_size": 20, "max_position_embeddings": 4096},
        **{"mm_vision_tower": "random", "mm_vision_config": vision, "mm_hidden_size": 16},
        **keys,
    )
    return LlavaLlamaForCausalLM(config).eval()


def noise(model: LlavaLlamaForCausalLM, *views: int) -> list[torch.Tensor]:
    """Images of so many views each."""
    edge = model.get_vision_tower().image_size
    return [torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(count)) for count in views]
