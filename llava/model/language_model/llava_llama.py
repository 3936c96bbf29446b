"""LLaVA on LLaMA and what has its shape: Vicuna (LLaVA-1.5, 1.6), Llama-3 and Yi."""

from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, LlamaModel

from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_config import LlavaConfig
from llava.model.language_model.staged_decoder import StagedDecoder
from llava.model.llava_arch import LlavaMetaModel

__all__ = ["LlavaConfig", "LlavaLlamaForCausalLM", "LlavaLlamaModel"]


class LlavaLlamaModel(LlavaMetaModel, StagedDecoder, LlamaModel):
    """LLaMA's decoder with eyes, whose layers may see different numbers of tokens."""

    config_class = LlavaConfig


class LlavaLlamaForCausalLM(LlavaCausalLM, LlamaForCausalLM):
    """LLaVA. Weights are named as in the published checkpoints; see `generate`."""

    config_class = LlavaConfig
    host_class, decoder_class = LlamaForCausalLM, LlavaLlamaModel


AutoConfig.register("llava_llama", LlavaConfig, exist_ok=True)
AutoModelForCausalLM.register(LlavaConfig, LlavaLlamaForCausalLM, exist_ok=True)
