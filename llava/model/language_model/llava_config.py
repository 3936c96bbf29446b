"""LLaVA's configuration, by itself so that files which judge one need no model."""

from transformers import LlamaConfig


class LlavaConfig(LlamaConfig):
    """LLaMA's settings plus LLaVA's `mm_*` keys, kept as they are in `config.json`."""

    model_type = "llava_llama"
