"""LLaVA on LLaMA (and Vicuna): the published LLaVA-1.5 and LLaVA-1.6-Vicuna models."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, LlamaModel

from llava.model.devices import device_of
from llava.model.generation.generate import LlavaGeneration
from llava.model.generation.sharing import LlavaSharing
from llava.model.language_model.llava_config import LlavaConfig
from llava.model.language_model.staged_decoder import StagedDecoder
from llava.model.llava_arch import LlavaMetaForCausalLM, LlavaMetaModel
from llava.model.loading.pretrained import FromCheckpoint
from llava.reduction import method_class

__all__ = ["LlavaConfig", "LlavaLlamaForCausalLM", "LlavaLlamaModel"]


class LlavaLlamaModel(LlavaMetaModel, StagedDecoder, LlamaModel):
    """LLaMA's decoder with eyes, whose layers may see different numbers of tokens."""

    config_class = LlavaConfig


class LlavaLlamaForCausalLM(FromCheckpoint, LlavaSharing, LlavaGeneration, LlavaMetaForCausalLM, LlamaForCausalLM):
    """LLaVA. Weights are named as in the published checkpoints; see `generate`."""

    config_class = LlavaConfig

    def __init__(self, config: LlavaConfig) -> None:
        super(LlamaForCausalLM, self).__init__(config)
        self.model = LlavaLlamaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self._reduction = method_class("none")()
        self.post_init()

    def get_model(self) -> LlavaLlamaModel:
        """The decoder (LLaVA's accessor)."""
        return self.model

    @property
    def device(self) -> torch.device:
        """Where token ids belong, also when their embeddings are kept elsewhere between calls."""
        return device_of(self.get_input_embeddings())


AutoConfig.register("llava_llama", LlavaConfig, exist_ok=True)
AutoModelForCausalLM.register(LlavaConfig, LlavaLlamaForCausalLM, exist_ok=True)
