"""LLaVA on Mistral: LLaVA-1.6-Mistral. Grouped queries; `sliding_window` null, or set for every layer."""

from transformers import AutoConfig, AutoModelForCausalLM, MistralForCausalLM, MistralModel

from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_config import LlavaMistralConfig
from llava.model.language_model.staged_decoder import StagedDecoder
from llava.model.llava_arch import LlavaMetaModel

__all__ = ["LlavaMistralConfig", "LlavaMistralForCausalLM", "LlavaMistralModel"]


class LlavaMistralModel(LlavaMetaModel, StagedDecoder, MistralModel):
    """Mistral's decoder with eyes, whose layers may see different numbers of tokens."""

    config_class = LlavaMistralConfig


class LlavaMistralForCausalLM(LlavaCausalLM, MistralForCausalLM):
    """LLaVA on Mistral; see `generate`."""

    config_class = LlavaMistralConfig
    host_class, decoder_class = MistralForCausalLM, LlavaMistralModel


AutoConfig.register("llava_mistral", LlavaMistralConfig, exist_ok=True)
AutoModelForCausalLM.register(LlavaMistralConfig, LlavaMistralForCausalLM, exist_ok=True)
