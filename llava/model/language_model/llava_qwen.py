"""LLaVA on Qwen1.5 and Qwen2: LLaVA-NeXT-72B/110B, OneVision. Biases on q, k and v; windows in some layers, if any."""

from transformers import AutoConfig, AutoModelForCausalLM, Qwen2ForCausalLM, Qwen2Model

from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_config import LlavaQwenConfig
from llava.model.language_model.staged_decoder import StagedDecoder
from llava.model.llava_arch import LlavaMetaModel

__all__ = ["LlavaQwenConfig", "LlavaQwenForCausalLM", "LlavaQwenModel"]


class LlavaQwenModel(LlavaMetaModel, StagedDecoder, Qwen2Model):
    """Qwen2's decoder with eyes, whose layers may see different numbers of tokens."""

    config_class = LlavaQwenConfig


class LlavaQwenForCausalLM(LlavaCausalLM, Qwen2ForCausalLM):
    """LLaVA on Qwen; see `generate`."""

    config_class = LlavaQwenConfig
    host_class, decoder_class = Qwen2ForCausalLM, LlavaQwenModel


AutoConfig.register("llava_qwen", LlavaQwenConfig, exist_ok=True)
AutoModelForCausalLM.register(LlavaQwenConfig, LlavaQwenForCausalLM, exist_ok=True)
