"""Which class a configuration is of: one file each for every language model that LLaVA stands on here."""

from typing import Any

from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.model.language_model.llava_mistral import LlavaMistralForCausalLM
from llava.model.language_model.llava_mpt import LlavaMptForCausalLM
from llava.model.language_model.llava_qwen import LlavaQwenForCausalLM

CLASSES: dict[str, type[LlavaCausalLM]] = {
    kind.config_class.model_type: kind
    for kind in (LlavaLlamaForCausalLM, LlavaMistralForCausalLM, LlavaQwenForCausalLM, LlavaMptForCausalLM)
}


def class_of(config: Any) -> type[LlavaCausalLM]:
    """The class of a configuration that `llava.model.checkpoint.read_config` made."""
    return CLASSES[config.model_type]
