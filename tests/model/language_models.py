"""A small model of random weights of every family, for tests of what all of them promise."""

from typing import Any

import torch
from tiny_models import PATCH
from transformers import LlamaForCausalLM, MistralForCausalLM, MptForCausalLM, Qwen2ForCausalLM

from llava.model import LlavaConfig, LlavaMistralConfig, LlavaMptConfig, LlavaQwenConfig
from llava.model.language_model.families import class_of

SIDE, LAYERS = 8, 12
_ROTARY = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "max_position_embeddings": 512},
}
_MPT = {"d_model": 24, "n_heads": 6, "n_layers": LAYERS, "max_seq_len": 256, "use_cache": True}
# The configuration's class, transformers' own class, and settings. Windows are shorter than every prompt here.
FAMILIES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama": (LlavaConfig, LlamaForCausalLM, _ROTARY),
    "mistral": (LlavaMistralConfig, MistralForCausalLM, _ROTARY | {"sliding_window": None}),
    "mistral-window": (LlavaMistralConfig, MistralForCausalLM, _ROTARY | {"sliding_window": 7}),
    "qwen": (LlavaQwenConfig, Qwen2ForCausalLM, _ROTARY | {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen-window": (
        LlavaQwenConfig,
        Qwen2ForCausalLM,
        _ROTARY | {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 5},
    ),
    "mpt": (LlavaMptConfig, MptForCausalLM, _MPT),
}


def family_model(name: str, **keys: Any) -> Any:
    """A LLaVA of 64 patches and 12 layers whose weights make hidden states differ from each other."""
    config_class, _, settings = FAMILIES[name]
    vision = {
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 8, "num_attention_heads": 2},
        **{"patch_size": PATCH, "image_size": SIDE * PATCH, "projection_dim": 16},
    }
    eyes = {"mm_vision_tower": "random", "mm_vision_config": vision, "mm_hidden_size": 16}
    torch.manual_seed(1)
    config = config_class(**{**settings, "vocab_size": 40, **eyes, **keys})
    model = class_of(config)(config).eval()
    generator = torch.Generator().manual_seed(2)
    for label, parameter in model.named_parameters():
        if "vision_tower" not in label and "norm" not in label:
            parameter.data.normal_(std=0.25 if parameter.ndim == 2 else 0.5, generator=generator)
    return model


def host_of(name: str, model: Any) -> Any:
    """transformers' own model with the same weights, without eyes."""
    _, host_class, settings = FAMILIES[name]
    host = host_class(host_class.config_class(**settings, vocab_size=40)).eval()
    own = {label: tensor for label, tensor in model.state_dict().items() if label in host.state_dict()}
    host.load_state_dict(own)
    return host


def pictures(model: Any, count: int) -> list[torch.Tensor]:
    """(1, 3, 32, 32) each."""
    edge = model.get_vision_tower().config.image_size
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(1, 3, edge, edge, generator=generator) for _ in range(count)]
