"""A plug-in for vLLM: its own LLaVA-1.5, with fewer image tokens leaving the vision encoder.

    vllm serve llava-hf/llava-1.5-7b-hf --block-size 32 --hf-overrides '{"architectures": ["VisionDropLlava"],
        "visiondrop": {"method": "visionzip", "retain": 64}}'

vLLM calls `register` in each of its processes, found by the entry point group `vllm.general_plugins`. Each reads the
method from the model's configuration: the one that counts placeholders in prompts and those that run the encoder.
"""

ARCHITECTURE = "VisionDropLlava"


def register() -> None:
    """Make the architecture known to vLLM; its module is imported when a model asks for it."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    from llava.vllm.early import Early

    ModelRegistry.register_model(ARCHITECTURE, "llava.vllm.model:ReducedLlava")
    MODELS_CONFIG_MAP[ARCHITECTURE] = Early
