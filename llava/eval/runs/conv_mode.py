"""The conversation template of a command: the one that is named, or for `auto` the checkpoint's own."""

import argparse
import dataclasses
import hashlib
import sys
from typing import Any

from llava.conversation import Conversation
from llava.conversation_chat import CHAT_TEMPLATE, ChatConversation, chat_conversation
from llava.conversation_choice import AUTO, Signs, contradiction, own_template
from llava.errors import InputError
from llava.eval.runs.command import Parser
from llava.hf.loading_config import host_of
from llava.mm_utils import get_model_name_from_path
from llava.model.checkpoint.chat_template import read_chat_template
from llava.model.checkpoint.config import read_config, read_raw_config, read_stored_config
from llava.model.checkpoint.folder import Folder
from llava.model.checkpoint.hf_layout import kind_there
from llava.model.loading.extras import FULL, LORA, kind_of
from llava.model.tokenizer import LlamaTokenizer, load_tokenizer

# Parts of a model's name, in LLaVA's order, and the conversation mode they stand for.
MODES = (
    ("llama-2", "llava_llama_2"),
    ("mistral", "mistral_instruct"),
    ("v1.6-34b", "chatml_direct"),
    ("v1", "llava_v1"),
    ("mpt", "mpt"),
)


def infer_conv_mode(model_name: str) -> str:
    """The conversation mode LLaVA chooses for a model by its name."""
    return next((mode for part, mode in MODES if part in model_name.lower()), "llava_v0")


class Usual(str):
    """A template that nobody named: a checkpoint that has a chat template of its own goes before it."""


def add_conv_mode(parser: Parser, default: str | None = None) -> None:
    """`--conv-mode`; without a default, a command takes LLaVA's choice by the model's name."""
    unset = "" if default else "; unset: LLaVA's choice by the model's name"
    about = (
        f"conversation template, or {AUTO}: the one that the checkpoint was trained with{unset}; of a checkpoint in "
        f"transformers' layout its chat template, where none is named"
    )
    parser.add_argument("--conv-mode", default=Usual(default) if default else None, metavar="NAME", help=about)
    usual = "the same, for a checkpoint that has no chat template of its own"
    parser.add_argument(
        "--usual-conv-mode", dest="conv_mode", type=Usual, default=argparse.SUPPRESS, metavar="NAME", help=usual
    )


def own_chat(model_path: str) -> ChatConversation | None:
    """The conversation that a checkpoint in transformers' layout writes by itself; None for any other.

    Raises:
        InputError: where it has no chat template.
    """
    folder = Folder(str(model_path))
    raw = read_stored_config(folder)
    if kind_there(raw) is None and host_of(raw) is None:
        return None
    return chat_conversation(read_chat_template(folder), load_tokenizer(folder.path))


def own_mode(model_path: str, model_base: str | None = None) -> str:
    """The template that a checkpoint was trained with; InputError where its files leave that open."""
    return own_template(signs_of(model_path, model_base))


def signs_of(model_path: str, model_base: str | None = None, tokenizer: Any = None) -> Signs:
    """What the files of a checkpoint and of its base say; no weight is read.

    Args:
        tokenizer: the checkpoint's, where it is loaded already.

    Raises:
        InputError: for a checkpoint or a tokenizer that cannot be read.
    """
    folder, base = Folder(str(model_path)), Folder(str(model_base)) if model_base is not None else None
    read_config(folder.path, folder)
    raw = read_raw_config(folder)
    names = [get_model_name_from_path(place.path) for place in (folder, base) if place is not None]
    names += [name for name in [raw.get("_name_or_path")] if isinstance(name, str)]
    projector = raw.get("mm_projector_type")
    signs = Signs(
        str(raw.get("model_type")),
        tuple(names),
        projector=projector if isinstance(projector, str) else None,
        projector_alone=kind_of(folder, base) not in (FULL, LORA),
    )
    if not signs.needs_tokenizer:
        return signs
    return with_tokenizer(signs, tokenizer if tokenizer is not None else load_tokenizer((base or folder).path))


def with_tokenizer(signs: Signs, tokenizer: Any) -> Signs:
    """The same checkpoint, with what its tokenizer shows."""
    template, bos = tokenizer.chat_template or "", tokenizer.bos_token_id
    return dataclasses.replace(
        signs,
        tokens=frozenset((*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())),
        adds_bos=bos is not None and tokenizer("a").input_ids[:1] == [bos],
        is_llama_tokenizer=isinstance(tokenizer, LlamaTokenizer),
        chat_template=template if isinstance(template, str) else "\n".join(template.values()),
    )


def warn_of_another(mode: str, model_path: str, model_base: str | None, tokenizer: Any) -> None:
    """One line on stderr where a template contradicts a checkpoint whose own is known."""
    try:
        own = own_template(signs_of(model_path, model_base, tokenizer))
    except InputError:
        return
    why = contradiction(mode, own)
    if why is not None:
        print(
            f"WARNING: the conversation template {mode} is not one that {get_model_name_from_path(model_path)} was "
            f"trained with: {why}; --conv-mode {AUTO} takes its own, {own}",
            file=sys.stderr,
        )


def template_settings(conv_mode: str | Conversation) -> dict[str, str]:
    """What answers under a template depend on: its name, and of a checkpoint's chat template the digest of its text."""
    if isinstance(conv_mode, str):
        return {"conv_mode": conv_mode}
    text = getattr(conv_mode, "template", "")
    return {"conv_mode": CHAT_TEMPLATE, "chat_template_sha256": hashlib.sha256(text.encode()).hexdigest()}
