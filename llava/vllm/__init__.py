"""A plug-in for vLLM: its own LLaVA-1.5, with fewer image tokens leaving the vision encoder.

    vllm serve llava-hf/llava-1.5-7b-hf --block-size 32 --hf-overrides '{"architectures": ["VisionDropLlava"],
        "visiondrop": {"method": "visionzip", "retain": 64}}'

vLLM calls `register` in each of its processes, found by the entry point group `vllm.general_plugins`. Each reads the
method from the model's configuration: the one that counts placeholders in prompts and those that run the encoder.
"""

ARCHITECTURE = "VisionDropLlava"


def register() -> None:
    """Make the architecture known to vLLM; its module is imported when a model asks for it.

    Other models must not suffer from a vLLM that this plug-in does not know, so only a model of this architecture is
    refused there.
    """
    import vllm

    from llava.vllm.early import Early, is_tested

    vllm.ModelRegistry.register_model(ARCHITECTURE, "llava.vllm.entry:ReducedLlava")
    if is_tested(vllm.__version__):
        from vllm.model_executor.models.config import MODELS_CONFIG_MAP

        MODELS_CONFIG_MAP[ARCHITECTURE] = Early
