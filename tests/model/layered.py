"""A small model of random weights and prompts for methods inside the LLM: several images, none, padding."""

from typing import Any

import torch
from tiny_models import tiny_model

from llava.model.cache.staged_cache import StagedCache
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

PAIRS = {"dominant": 20, "contextual": 6, "layer_list": [2, 4], "image_token_list": [[10, 4], [4, 2]]}
PYRAMID = {"layer_list": [2, 4], "image_token_ratio_list": [0.5, 0.2]}
FASTV = {"fast_v_agg_layer": 2, "fast_v_attention_rank": 9}
SPARSE = {"layer_list": [2, 3, 5], "image_token_list": [20, 9, 4]}
DROPPED = {"layer_list": [1, 3, 5], "keep_ratio_list": [0.5, 0.5, 0.0]}
GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
LOGITS = {"output_logits": True, "return_dict_in_generate": True}
NEAR = {"atol": 2e-5, "rtol": 0.0}
PROMPTS = ([1, 5, -200, 7, 3, 9, 4, 12], [1, -200, 8, 2, 6], [1, 3, 9], [1, 4, -200, 9, -200, 6, 2, 3, 8, 5, 11])
PICTURES = ([0], [1], [], [2, 3])


def layered_model() -> LlavaLlamaForCausalLM:
    """Six layers with two query heads for each key head, 36 patches, hidden states that differ from each other."""
    torch.manual_seed(1)
    made = tiny_model(6, 6, num_key_value_heads=1)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            parameter.data.mul_(8)
    return made


def pictures(model: LlavaLlamaForCausalLM) -> list[torch.Tensor]:
    edge = model.get_vision_tower().config.image_size
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(1, 3, edge, edge, generator=generator) for _ in range(4)]


def prompt(model: LlavaLlamaForCausalLM, number: int) -> dict[str, Any]:
    shown = pictures(model)
    return {"input_ids": torch.tensor([PROMPTS[number]]), "images": [shown[at] for at in PICTURES[number]] or None}


def together(model: LlavaLlamaForCausalLM) -> dict[str, Any]:
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in PROMPTS])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in PROMPTS])
    return {"input_ids": ids, "attention_mask": mask, "images": pictures(model)}


def logits_of(model: LlavaLlamaForCausalLM, cache: StagedCache, first: torch.Tensor, steps: int) -> list[torch.Tensor]:
    found = [first]
    for _ in range(steps):
        token = found[-1].argmax(-1)[:, None]
        found.append(model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1])
    return found
