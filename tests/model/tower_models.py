"""Whole models of random weights with each kind of tower, for tests about towers and methods together."""

from typing import Any

import torch

from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM

SIDE, PATCH, LAYERS = 8, 4, 8
EDGE = SIDE * PATCH
TOWERS = ("clip", "cls_patch", "siglip", "s2")


def vision_config(kind: str) -> dict[str, Any]:
    """What `mm_vision_config` says of a small tower of 8 x 8 patches."""
    name = "siglip_vision_model" if kind == "siglip" else "clip_vision_model"
    return {
        **{"model_type": name, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4},
        **{"num_attention_heads": 2, "patch_size": PATCH, "image_size": EDGE},
    }


def llava_keys(kind: str) -> dict[str, Any]:
    """The `mm_` keys of a model with that tower; `cls_patch` is CLIP whose [CLS] goes to the LLM too."""
    if kind == "cls_patch":
        return llava_keys("clip") | {"mm_vision_select_feature": "cls_patch"}
    scales = {"s2": True, "s2_scales": f"{2 * EDGE},{EDGE},{3 * EDGE}"} if kind == "s2" else {}
    width = 16 * (3 if kind == "s2" else 1)
    return {"mm_vision_tower": kind, "mm_vision_config": vision_config(kind), "mm_hidden_size": width} | scales


def model_with(kind: str, **keys: Any) -> LlavaLlamaForCausalLM:
    """A LLaVA with that tower; weights are large enough for attention to differ from patch to patch."""
    torch.manual_seed(3)
    config = LlavaConfig(
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2},
        **{"vocab_size": 20, "max_position_embeddings": 4096, "mm_projector_type": "mlp2x_gelu"},
        **llava_keys(kind) | keys,
    )
    model = LlavaLlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.3 if "vision_tower" in name else 0.2)
    return model


def noise(model: LlavaLlamaForCausalLM, views: int, seed: int = 0) -> torch.Tensor:
    """(views, 3, h, w) pixels, different from view to view."""
    edge = model.get_vision_tower().image_size
    return torch.randn(views, 3, edge, edge, generator=torch.Generator().manual_seed(seed))
