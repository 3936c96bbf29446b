"""The template of a run (`--version`) and which of LLaVA's rules of targets belongs to it."""

import re
from typing import Literal

from llava.conversation import Conversation, SeparatorStyle, conv_templates
from llava.errors import InputError, shown

Rule = Literal["plain", "llama_2", "v1", "mpt", "llama_3", "v0", "other"]
NOT_ASKED = "the template writes its instruction around the first question: got one without a text; write it"


def training_template(version: str) -> Conversation:
    """A fresh copy of the template that `--version` names; `v0` and `v0.5` stand for vicuna_v1, as in LLaVA.

    Raises:
        InputError: for a name that is no template (LLaVA takes vicuna_v1 without a word).
    """
    name = "vicuna_v1" if version in ("v0", "v0.5") else version
    if name not in conv_templates:
        raise InputError(
            f"--version must name a conversation template: got {shown(version)}, expected v0, v0.5 or one of "
            f"{', '.join(sorted(conv_templates))}"
        )
    return conv_templates[name].copy()


def rule_of(conv: Conversation) -> Rule:
    """Which of LLaVA's functions makes the targets of a template; `other`: none of them was written for it."""
    if conv.sep_style is SeparatorStyle.PLAIN:
        return "plain"
    if conv.sep_style is SeparatorStyle.LLAMA_2:
        return "llama_2"
    if conv.version.startswith("v1"):
        return "v1"
    if conv.sep_style is SeparatorStyle.LLAMA_3:
        return "other"  # the rule of that version was written for another form, which counts its roles as written
    if re.match("llama_?(v)?3", conv.version):
        return "llama_3"
    if conv.sep_style is SeparatorStyle.SINGLE:
        return "v0"
    return "mpt" if conv.version == "mpt" else "other"
