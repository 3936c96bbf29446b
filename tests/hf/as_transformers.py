"""Checkpoints in the original layout as transformers' own classes, with the same weights."""

import re
from typing import Any

import torch
import transformers

NAMES = (
    (r"^model\.mm_projector\.0", "model.multi_modal_projector.linear_1"),
    (r"^model\.mm_projector\.2", "model.multi_modal_projector.linear_2"),
    (r"^model\.vision_tower\.vision_tower\.", "model.vision_tower."),
    (r"^model\.(?=layers|norm|embed_tokens)", "model.language_model."),
)
TEXT = {
    "llava_llama": transformers.LlamaConfig,
    "llava_mistral": transformers.MistralConfig,
    "llava_qwen": transformers.Qwen2Config,
}


def as_transformers(ours: Any) -> tuple[Any, int]:
    """transformers' class of a LLaVA of this project, and the id of its image token."""
    said, tower = ours.config, ours.get_vision_tower().config
    kind = TEXT[said.model_type]
    text = {name: getattr(said, name) for name in kind().to_dict() if hasattr(said, name)} | {"dtype": "float32"}
    siglip = tower.model_type == "siglip_vision_model"
    vision = tower.to_dict()
    if siglip:
        vision |= {"vision_use_head": False, "num_hidden_layers": tower.num_hidden_layers - 1}
    vision.pop("model_type"), text.pop("model_type")
    weights = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    for pattern, name in NAMES:
        weights = {re.sub(pattern, name, key): tensor for key, tensor in weights.items()}
    words, token = weights["lm_head.weight"].shape[0], weights["lm_head.weight"].shape[0] + 1
    text["vocab_size"] = words + 3
    for name in ("lm_head.weight", "model.language_model.embed_tokens.weight"):
        weights[name] = torch.nn.functional.pad(weights[name], (0, 0, 0, 3))
    more: dict[str, Any] = {"image_token_index": token, "tie_word_embeddings": said.tie_word_embeddings}
    if getattr(said, "image_grid_pinpoints", None) is not None:
        more["image_grid_pinpoints"] = [list(pair[::-1]) for pair in said.image_grid_pinpoints]
    vision_kind = transformers.SiglipVisionConfig if siglip else transformers.CLIPVisionConfig
    parts = {"vision_config": vision_kind(**vision), "text_config": kind(**text)}
    if siglip:
        config = transformers.LlavaOnevisionConfig(**parts, **more, video_token_index=token + 1)
        model: Any = transformers.LlavaOnevisionForConditionalGeneration(config)
    elif "image_grid_pinpoints" in more:
        model = transformers.LlavaNextForConditionalGeneration(transformers.LlavaNextConfig(**parts, **more))
    else:
        model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(**parts, **more))
    left = model.load_state_dict(weights, strict=False)
    assert not [name for name in left.unexpected_keys if "rotary" not in name], left.unexpected_keys
    assert all("post_layernorm" in name or "newline" in name for name in left.missing_keys), left.missing_keys
    return model.eval(), token
