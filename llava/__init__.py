"""LLaVA with fewer visual tokens: VisionDrop and its relatives.

As in LLaVA, `import llava` makes the model type `llava_llama` known to transformers' AutoConfig and
AutoModelForCausalLM, and offers `llava.LlavaLlamaForCausalLM`. That takes the import of torch and transformers:
seconds, which a scorer of this package or its `--help` does not need. So on the way to `python -m llava...` nothing is
imported ahead of the command, and a command that loads a model registers it then.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llava.model import LlavaLlamaForCausalLM

__all__ = ["LlavaLlamaForCausalLM"]


def __getattr__(name: str) -> Any:
    """The model class where a command wants it after all."""
    if name == "LlavaLlamaForCausalLM":
        return importlib.import_module("llava.model").LlavaLlamaForCausalLM
    raise AttributeError(f"module 'llava' has no attribute '{name}'")


def _starts_a_command() -> bool:
    """Whether Python imports this package only to find the module of `python -m llava...`.

    Python documents that `sys.argv` begins with "-m" while it looks for that module, and at no other time; what it
    looks for is then the first of the original arguments that are not followed by more than the command's own.
    """
    if sys.argv[:1] != ["-m"]:
        return False
    return sys.orig_argv[-len(sys.argv)].removeprefix("-m").startswith("llava.")


if not _starts_a_command():
    importlib.import_module("llava.model")
