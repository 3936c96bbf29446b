"""Which conversation template a checkpoint was trained with, told by what it is: `--conv-mode auto`."""

import re
from dataclasses import dataclass

from llava.conversation import conv_templates
from llava.errors import InputError, shown

AUTO = "auto"
# Language models that LLaVA trained with one template each, whatever their size.
_BY_FAMILY = {"qwen": "qwen_1_5", "mistral": "mistral_instruct", "mpt": "mpt"}
_LLAMA = ("llava", "llava_llama")


@dataclass(frozen=True)
class Signs:
    """What a checkpoint shows of the template it was trained with.

    Attributes:
        model_type: of `config.json`.
        names: of the checkpoint, of its base, and what `config.json` says it was made from.
        tokens: special and added tokens of the tokenizer.
        adds_bos: the tokenizer puts BOS before a text.
        is_llama_tokenizer: it is LLaMA's kind (SentencePiece), not a byte-level one.
        chat_template: the tokenizer's own, in Jinja; empty where there is none.
        projector: `mm_projector_type`.
        projector_alone: only the projector was trained, on captions.
    """

    model_type: str
    names: tuple[str, ...] = ()
    tokens: frozenset[str] = frozenset()
    adds_bos: bool = True
    is_llama_tokenizer: bool = True
    chat_template: str = ""
    projector: str | None = None
    projector_alone: bool = False

    @property
    def needs_tokenizer(self) -> bool:
        """Whether the family alone leaves the template open."""
        return not any(part in self.model_type.lower() for part in ("qwen", "mpt"))

    def named(self, pattern: str) -> bool:
        """Whether one of the names holds a pattern, as a word or part of one, in any case."""
        return any(re.search(pattern, name.lower()) for name in self.names)


def own_template(signs: Signs) -> str:
    """The template of a checkpoint.

    The family decides where all its checkpoints have the same one; then the tokenizer, whose tokens and chat template a
    template needs; then LLaVA's own name rules; then the recipe: everything since LLaVA-1.5 on Vicuna has `vicuna_v1`.

    Raises:
        InputError: nothing tells; names the templates that it may be.
    """
    found = _found(signs)
    if isinstance(found, str):
        return found
    told = f"model_type {shown(signs.model_type)}, projector {shown(signs.projector)}"
    name = f"{shown(signs.names[0])} " if signs.names else ""
    alone = "; a projector alone was trained on captions, and its base decides" if signs.projector_alone else ""
    raise InputError(
        f"--conv-mode {AUTO} takes the checkpoint's own template: nothing in {name}({told}) says which that is{alone}; "
        f"give the one that it was trained with, such as {', '.join(found)}"
    )


def _found(signs: Signs) -> str | tuple[str, ...]:
    """The template, or those it may be."""
    kind = signs.model_type.lower()
    family = next((own for part, own in _BY_FAMILY.items() if part in kind), None)
    if signs.projector_alone:
        return ("plain", family or "vicuna_v1")
    if family == "mistral_instruct" and "<|im_end|>" in signs.tokens:
        return "mistral_direct"
    if family is not None:
        return family
    if kind not in _LLAMA:
        return tuple(sorted(conv_templates))
    return _by_tokenizer(signs) or _by_name(signs) or _by_recipe(signs)


def _by_tokenizer(signs: Signs) -> str | tuple[str, ...] | None:
    chat = signs.chat_template
    if "<|eot_id|>" in signs.tokens or "<|start_header_id|>" in chat:
        return "llava_llama_3"
    # Yi's puts no BOS. LLaVA-NeXT's checkpoint on it has no line feed behind <|im_end|>, whatever its chat template.
    if "<|im_end|>" in signs.tokens or (signs.is_llama_tokenizer and not signs.adds_bos):
        return "chatml_direct"
    if not signs.is_llama_tokenizer:
        return ("llava_llama_3", "qwen_1_5", "chatml_direct")
    if "<<SYS>>" in chat:
        return "llava_llama_2"
    return "vicuna_v1" if "USER:" in chat and "ASSISTANT:" in chat else None


def _by_name(signs: Signs) -> str | None:
    rules = {
        r"llama-?_?2(?!\d)": "llava_llama_2",
        r"mistral": "mistral_instruct",
        r"(?<![a-z])yi(?![a-z])|v1\.6-34b": "chatml_direct",
        r"vicuna|v1\.[56]": "vicuna_v1",
        r"(?<![a-z0-9])v0(?![0-9])": "llava_v0",
        r"(?<![a-z0-9])v1(?![0-9])": "vicuna_v1",
    }
    return next((own for pattern, own in rules.items() if signs.named(pattern)), None)


def _by_recipe(signs: Signs) -> str | tuple[str, ...]:
    if (signs.projector or "").startswith("mlp"):
        return "vicuna_v1"
    return ("vicuna_v1", "llava_v1", "llava_v0", "llava_llama_2")


def contradiction(name: str, own: str) -> str | None:
    """Why a template is not one that a checkpoint can know, whose own is another; None where nothing speaks against it.

    Templates of one style with one end mark differ in their system text alone.
    """
    given, right = conv_templates[name], conv_templates[own]
    if (given.sep_style, given.end_mark) == (right.sep_style, right.end_mark):
        return None
    if given.end_mark != right.end_mark:
        return f"answers end with {right.end_mark!r} there, not with {given.end_mark!r}"
    return "it writes turns in another way"
