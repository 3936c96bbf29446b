"""What vLLM imports where a model asks for the plug-in; in another vLLM than the tested one, the reason why not."""

import vllm

from llava.vllm.early import check_version

check_version(vllm.__version__)

from llava.vllm.model import ReducedLlava  # noqa: E402  # its imports have other names in other versions

__all__ = ["ReducedLlava"]
