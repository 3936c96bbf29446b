"""LLaVA's configurations, by themselves so that files which judge one need no model."""

from transformers import LlamaConfig, MistralConfig, MptConfig, Qwen2Config


class LlavaConfig(LlamaConfig):
    """LLaMA's settings plus LLaVA's `mm_*` keys, kept as they are in `config.json`."""

    model_type = "llava_llama"


class LlavaMistralConfig(MistralConfig):
    """Mistral's settings plus LLaVA's."""

    model_type = "llava_mistral"


class LlavaQwenConfig(Qwen2Config):
    """Those of Qwen1.5 and Qwen2 plus LLaVA's."""

    model_type = "llava_qwen"


class LlavaMptConfig(MptConfig):
    """MPT's settings plus LLaVA's."""

    model_type = "llava_mpt"
