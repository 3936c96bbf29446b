"""A checkpoint like another one, deeper and wider, with random weights: there the model's time counts, not Python's."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from llava.files.reading import read_json_object
from llava.files.writing import write_text
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM

HEAD = 64  # width of an attention head


def write_deeper(source: str, folder: Path, layers: int, width: int) -> None:
    """Write a checkpoint with the tower, the tokenizer and the template of a LLaMA one, and other sizes; seed 0.

    Args:
        source: a folder with `vision_tower` in it, as the shipped model is.
        layers, width: of its language model.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True)
    config: dict[str, Any] = read_json_object(Path(source) / "config.json", "a configuration")
    heads = width // HEAD
    config |= {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    config |= {"num_attention_heads": heads, "num_key_value_heads": heads, "torch_dtype": "float32"}
    write_text(folder / "config.json", json.dumps(config))
    torch.manual_seed(0)
    tower = read_json_object(folder / "vision_tower/config.json", "a configuration")
    model = LlavaLlamaForCausalLM(LlavaConfig(**config | {"mm_vision_config": tower}))
    state = {name: tensor for name, tensor in model.state_dict().items() if "vision_tower" not in name}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
