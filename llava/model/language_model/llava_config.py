"""LLaVA's configurations, by themselves so that files which judge one need no model."""

from typing import ClassVar

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
    """MPT's settings plus LLaVA's, those that others ask for by LLaMA's names too."""

    model_type = "llava_mpt"
    attribute_map = MptConfig.attribute_map | {
        "max_position_embeddings": "max_seq_len",
        "num_key_value_heads": "n_heads",
    }
    mlp_matrices: ClassVar[int] = 2  # no gate

    @property
    def intermediate_size(self) -> int:
        """Width of the MLP."""
        return self.expansion_ratio * self.d_model
