"""LLaVA with fewer visual tokens: VisionDrop and its relatives.

As in LLaVA, `import llava` makes the model type `llava_llama` known to transformers' AutoConfig and
AutoModelForCausalLM, and offers `llava.LlavaLlamaForCausalLM`. That takes the import of torch and transformers, which
is seconds, and which a scorer of this package or its `--help` does not need. So a command of this package
(`python -m llava...`, or its file) imports nothing ahead, and one that loads a model registers it then.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from llava import interrupts

if TYPE_CHECKING:
    from llava.model import LlavaLlamaForCausalLM

__all__ = ["LlavaLlamaForCausalLM"]


def __getattr__(name: str) -> Any:
    """The model class where a command wants it after all, and the room for transformers' own models."""
    if name == "LlavaLlamaForCausalLM":
        return importlib.import_module("llava.model").LlavaLlamaForCausalLM
    if name == "hf":
        return importlib.import_module("llava.hf")
    raise AttributeError(f"module 'llava' has no attribute '{name}'")


def _runs_a_command() -> bool:
    """Whether this process was started as a command of this package, or a converter of the scripts beside it.

    Python documents that `sys.argv` begins with "-m" while it looks for the module of `python -m`, and at no other
    time. What it looks for stands in the original arguments before those that the command gets.
    """
    if sys.argv[:1] == ["-m"]:
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m").startswith("llava.")
    program, package = os.path.realpath("".join(sys.argv[:1])), os.path.dirname(os.path.realpath(__file__))
    return program.startswith((package + os.sep, os.path.join(os.path.dirname(package), "scripts", "convert_")))


if _runs_a_command():
    interrupts.end_in_one_line()
else:
    importlib.import_module("llava.model")
