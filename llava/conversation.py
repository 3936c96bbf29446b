"""A conversation and the prompt it becomes: LLaVA's `conv_templates`, whose keys are the values of `--conv-mode`.

Templates carry no BOS (the tokenizer adds it), and a prompt that waits for an answer ends right after the role
("... ASSISTANT:") with no space, because that is where training put the first token of the answer.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from enum import Enum
from typing import Any

from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation_pictures import arranged, in_base64, within
from llava.conversation_templates import TEMPLATES, Template
from llava.errors import InputError

Turn = tuple[str, str | None]
Fields = dict[str, Any]  # a name of its own, since Conversation.dict hides the builtin inside the class


class SeparatorStyle(Enum):
    """How the turns of a conversation are joined; the rules are the functions at the end of this file."""

    SINGLE = 1  # role: text, one separator
    TWO = 2  # role: text, one separator for each side
    MPT = 3  # role and text with nothing between
    PLAIN = 4  # text alone
    LLAMA_2 = 5  # [INST] text [/INST]


@dataclasses.dataclass
class Conversation:
    """What was said so far, and how to write it down for the model.

    `messages` holds [role, message] lists. A message is a text; or None (or "") for the answer that is awaited; or,
    from a chat page, a tuple (text, picture, image_process_mode) of a message that a picture belongs to.
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

    def process_image(
        self,
        image: Image.Image,
        image_process_mode: str,
        return_pil: bool = False,
        image_format: str = "PNG",
        max_len: int = 1344,
        min_len: int = 672,
    ) -> Image.Image | str:
        """Return a picture as the page's mode wants it and no larger than the page allows, as base64 text of its file.

        Args:
            image_process_mode: `Default` and `Crop` (as it is), `Pad` (squared) or `Resize` (336 x 336 pixels).
            return_pil: return the picture itself.
            max_len, min_len: pixels of the longer and the shorter side of a picture that is longer than `max_len`.
        """
        picture = within(arranged(image, image_process_mode), max_len, min_len)
        return picture if return_pil else in_base64(picture, image_format)

    def get_images(self, return_pil: bool = False) -> list[Any]:
        """Return the user's pictures, each as `process_image` gives it in the mode of its message."""
        asked = [message for _, message in self.messages[self.offset :: 2] if isinstance(message, tuple)]
        return [self.process_image(image, mode, return_pil) for _, image, mode in asked]

    def to_gradio_chatbot(self) -> list[list[Any]]:
        """Return [question, answer] pairs as a page shows them; a picture stands in its question, as HTML."""
        said = [self._on_page(message) for _, message in self.messages[self.offset :]]
        return [list(pair) for pair in itertools.zip_longest(said[::2], said[1::2])]

    def _on_page(self, message: Any) -> str | None:
        if not isinstance(message, tuple):
            return message
        text, image, _ = message
        data = self.process_image(image, "Default", image_format="JPEG")
        shown = f'<img src="data:image/jpeg;base64,{data}" alt="the picture" />'
        return shown + text.replace(DEFAULT_IMAGE_TOKEN, "").strip()

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


@functools.cache
def _from_row(row: Template) -> Conversation:
    """One conversation for all the names of a row."""
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
conv_vicuna_v0 = conv_templates["v0"]
conv_vicuna_v1 = conv_templates["v1"]
conv_llama_2 = conv_templates["llama_2"]
conv_llava_llama_2 = conv_templates["llava_llama_2"]
conv_mpt = conv_templates["mpt"]
conv_llava_plain = conv_templates["plain"]
conv_llava_v0 = conv_templates["llava_v0"]
conv_llava_v0_mmtag = conv_templates["v0_mmtag"]
conv_llava_v1 = conv_templates["llava_v1"]
conv_llava_v1_mmtag = conv_templates["v1_mmtag"]
conv_mistral_instruct = conv_templates["mistral_instruct"]
conv_chatml_direct = conv_templates["chatml_direct"]
default_conversation = conv_vicuna_v1
