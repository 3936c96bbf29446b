"""A conversation and the prompt it becomes: LLaVA's `conv_templates`, whose keys are the values of `--conv-mode`.

Templates carry no BOS (the tokenizer adds it), and a prompt that waits for an answer ends right after the role
("... ASSISTANT:") with no space, because that is where training put the first token of the answer.
"""

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation_templates import TEMPLATES, Template
from llava.errors import InputError

Turn = tuple[str, str | None]
Fields = dict[str, Any]  # a name of its own, since Conversation.dict hides the builtin inside the class


class SeparatorStyle(Enum):
    """How the turns of a conversation are joined; the rules are the functions at the end of this file."""

    SINGLE = "role: text, one separator"
    TWO = "role: text, one separator for each side"
    MPT = "role and text with nothing between"
    PLAIN = "text alone"
    LLAMA_2 = "[INST] text [/INST]"


@dataclasses.dataclass
class Conversation:
    """What was said so far, and how to write it down for the model.

    `messages` holds [role, message] lists. A message is a text; or None (or "") for the answer that is awaited; or,
    from a chat page, a tuple whose first item is the text and which says that an image belongs to the message.
    The first `offset` messages are the template's own example. `sep` closes a user's turn, `sep2` an assistant's
    (None: not used by the style). `version` names the prompt family; one with "mmtag" in it gives the image an
    exchange of its own. `skip_next` is a mark for chat pages; nothing here reads it.
    """

    system: str
    roles: tuple[str, str]
    messages: list[list[Any]] = dataclasses.field(default_factory=list)
    offset: int = 0
    sep_style: SeparatorStyle = SeparatorStyle.SINGLE
    sep: str = "###"
    sep2: str | None = None
    version: str = "Unknown"
    skip_next: bool = False

    def get_prompt(self) -> str:
        """Return the prompt; InputError when the style needs `sep2` and the conversation has none."""
        return _RENDERERS[self.sep_style](self, _turns(self))

    def append_message(self, role: str, message: str | tuple[Any, ...] | None) -> None:
        """Add one turn at the end; None as message leaves room for the answer."""
        self.messages += [[role, message]]

    def copy(self) -> "Conversation":
        """Return a conversation that can grow without this one growing along."""
        return dataclasses.replace(self, messages=[list(message) for message in self.messages])

    def dict(self) -> Fields:
        """Return the six fields that LLaVA's logs hold, with tuple messages cut down to their text."""
        kept = ("system", "roles", "offset", "sep", "sep2")
        texts = [[role, _text(message)] for role, message in self.messages]
        return {name: getattr(self, name) for name in kept} | {"messages": texts}


def get_conv_template(name: str) -> Conversation:
    """Return a fresh copy of the template of that name; InputError naming the known ones when there is none."""
    if name not in conv_templates:
        known = ", ".join(sorted(conv_templates))
        raise InputError(f"--conv-mode must name a conversation template: got {name!r}, choose one of {known}")
    return conv_templates[name].copy()


def _from_row(row: Template) -> Conversation:
    example = [list(turn) for turn in row.example]
    style = SeparatorStyle[row.style]
    return Conversation(row.system, row.roles, example, len(example), style, row.sep, row.sep2, row.version)


def _text(message: Any) -> str | None:
    return message[0] if isinstance(message, tuple) else message


def _turns(conv: Conversation) -> list[Turn]:
    """Return (role, text) turns; when the first message is a tuple, its image token is moved to the front."""
    turns = [(role, _text(message)) for role, message in conv.messages]
    if not conv.messages or not isinstance(conv.messages[0][1], tuple):
        return turns
    role, text = turns[0]
    words = (text or "").replace(DEFAULT_IMAGE_TOKEN, "").strip()
    if "mmtag" not in conv.version:
        return [(role, f"{DEFAULT_IMAGE_TOKEN}\n{words}"), *turns[1:]]
    user, assistant = conv.roles
    return [(user, f"<Image>{DEFAULT_IMAGE_TOKEN}</Image>"), (assistant, "Received."), (role, words), *turns[1:]]


def _closing(conv: Conversation, index: int) -> str:
    """Return what closes turn `index` when both sides have their own separator: users are even, assistants odd."""
    if index % 2 == 0:
        return conv.sep
    if conv.sep2 is None:
        raise InputError(
            f"a conversation of style {conv.sep_style.name} without sep2 holds one message: got an answer to it,"
            " expected none; choose a chat template (such as vicuna_v1) or set sep2"
        )
    return conv.sep2


def _render_single(conv: Conversation, turns: list[Turn]) -> str:
    said = (f"{role}: {text}{conv.sep}" if text else f"{role}:" for role, text in turns)
    return conv.system + conv.sep + "".join(said)


def _render_two(conv: Conversation, turns: list[Turn]) -> str:
    said = (f"{role}: {text}{_closing(conv, i)}" if text else f"{role}:" for i, (role, text) in enumerate(turns))
    return conv.system + conv.sep + "".join(said)


def _render_mpt(conv: Conversation, turns: list[Turn]) -> str:
    # Roles end in a line feed of their own; none stands between <|im_end|> and the next <|im_start|>.
    return conv.system + conv.sep + "".join(f"{role}{text}{conv.sep}" if text else role for role, text in turns)


def _render_plain(conv: Conversation, turns: list[Turn]) -> str:
    return conv.system + "".join(f"{text}{_closing(conv, i)}" for i, (_, text) in enumerate(turns) if text)


def _render_llama_2(conv: Conversation, turns: list[Turn]) -> str:
    # The system text lives inside the first user turn. The first <s> goes, because the tokenizer adds its own BOS;
    # lstrip takes a set of characters, as LLaVA does: an empty sep strips nothing.
    said = []
    for i, (_, text) in enumerate(turns):
        if text and i % 2:
            said.append(f" {text} {_closing(conv, i)}")
        elif text:
            head = f"<<SYS>>\n{conv.system}\n<</SYS>>\n\n" if i == 0 and conv.system else ""
            said.append(f"{_closing(conv, i)}[INST] {head}{text} [/INST]")
    return "".join(said).lstrip(conv.sep)


_RENDERERS: dict[SeparatorStyle, Callable[[Conversation, list[Turn]], str]] = {
    SeparatorStyle.SINGLE: _render_single,
    SeparatorStyle.TWO: _render_two,
    SeparatorStyle.MPT: _render_mpt,
    SeparatorStyle.PLAIN: _render_plain,
    SeparatorStyle.LLAMA_2: _render_llama_2,
}

# Shared and mutable, as in LLaVA: take a copy (get_conv_template does) before adding messages.
conv_templates: dict[str, Conversation] = {name: _from_row(row) for name, row in TEMPLATES.items()}
default_conversation = conv_templates["vicuna_v1"]
