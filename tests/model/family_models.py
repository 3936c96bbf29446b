"""Small models of random weights: every language model with every tower and way to cut pictures."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from llava.model.language_model.families import CLASSES
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.multimodal_encoder.clip_text import ClipHalf, give_clip_half
from llava.model.question import give_tokenizer

SIDE, PATCH, LAYERS, WORDS = 8, 4, 4, 24
WIDTH = 64  # of the tower: as many as patches, or their features would be dependent and choices among them chance
EDGE = SIDE * PATCH
_SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
_USUAL = _SIZES | {"vocab_size": WORDS, "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2}
# Language models by the name that people know them by, and the checkpoints' `model_type`.
LANGUAGE: dict[str, tuple[str, dict[str, Any]]] = {
    "LLaMA": ("llava_llama", _USUAL),
    "Llama-3, Yi": ("llava_llama", _USUAL | {"num_key_value_heads": 2, "rope_theta": 500000.0}),
    "Mistral": ("llava_mistral", _USUAL | {"num_key_value_heads": 2, "sliding_window": 32}),
    "Qwen1.5, Qwen2": ("llava_qwen", _USUAL | {"num_key_value_heads": 2, "use_sliding_window": False}),
    "MPT": ("llava_mpt", {"d_model": 16, "n_layers": LAYERS, "n_heads": 4, "max_seq_len": 4096, "vocab_size": WORDS}),
}
_PINPOINTS = [[EDGE, 2 * EDGE], [2 * EDGE, EDGE], [2 * EDGE, 2 * EDGE]]
_NEXT = {"image_grid_pinpoints": _PINPOINTS, "mm_patch_merge_type": "spatial_unpad"}
_SIGLIP = {"model_type": "siglip_vision_model"}
# Towers and ways to cut pictures: what `config.json` says of the tower, and what it says of pictures.
SIGHT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "CLIP": ({}, {"image_aspect_ratio": "pad"}),
    "CLIP, anyres": ({}, _NEXT | {"image_aspect_ratio": "anyres"}),
    "CLIP, cls_patch": ({}, {"image_aspect_ratio": "pad", "mm_vision_select_feature": "cls_patch"}),
    "CLIP, s2": ({}, {"image_aspect_ratio": "pad", "s2": True, "s2_scales": f"{EDGE},{2 * EDGE},{3 * EDGE}"}),
    "SigLIP": (_SIGLIP, {"image_aspect_ratio": "pad"}),
    "SigLIP, anyres_max": (_SIGLIP, _NEXT | {"image_aspect_ratio": "anyres_max_2"}),
}
VIDEO, FRAMES = "SigLIP, video", 3


def model_of(language: str, sight: str) -> LlavaCausalLM:
    """A LLaVA of those; weights are large enough for attention to differ from patch to patch."""
    kind, sizes = LANGUAGE[language]
    tower, pictures = SIGHT["SigLIP, anyres_max" if sight == VIDEO else sight]
    vision = {"model_type": "clip_vision_model", "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 6}
    vision |= {"num_attention_heads": 2, "patch_size": PATCH, "image_size": EDGE} | tower
    eyes = {"mm_vision_tower": "random", "mm_vision_config": vision, "mm_projector_type": "mlp2x_gelu"}
    eyes |= {"mm_hidden_size": 3 * WIDTH if "s2" in pictures else WIDTH}
    torch.manual_seed(3)
    model = CLASSES[kind](CLASSES[kind].config_class(**sizes | eyes | pictures)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.15 if "vision_tower" in name else 0.2)
    give_tokenizer(model, Numbers())
    if vision["model_type"] == "clip_vision_model":
        give_clip_half(model.get_vision_tower(), _clip_half())
    return model


class Numbers:
    """A tokenizer whose words are ids, for the language model and for CLIP's text tower."""

    def decode(self, ids: list[int], **_: object) -> str:
        return " ".join(map(str, ids))

    def __call__(self, text: str | list[str], **_: object) -> SimpleNamespace:
        ids = [[int(word) for word in one.split()] for one in ([text] if isinstance(text, str) else text)]
        return SimpleNamespace(input_ids=ids[0] if isinstance(text, str) else ids)


def _clip_half() -> ClipHalf:
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPTextConfig(vocab_size=WORDS, projection_dim=8, bos_token_id=0, eos_token_id=2, **shape)
    return ClipHalf(CLIPTextModelWithProjection(config), torch.randn(8, WIDTH), Numbers())
