"""A conversation and the prompt it becomes: LLaVA's `conv_templates`, whose keys are the values of `--conv-mode`.

Templates carry no BOS (the tokenizer adds it; Llama-3's has one besides), and a prompt that waits for an answer ends
right after the role ("... ASSISTANT:") with no space, because that is where training put the first token of the answer.
"""

import dataclasses
import functools
import itertools
from typing import Any

from PIL import Image

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation_pictures import arranged, in_base64, within
from llava.conversation_styles import Marks, SeparatorStyle, Turn, written
from llava.conversation_templates import TEMPLATES, Template
from llava.errors import InputError

Fields = dict[str, Any]  # a name of its own, since Conversation.dict hides the builtin inside the class


@dataclasses.dataclass
class Conversation:
    """What was said so far, and how to write it down for the model.

    `messages` holds [role, message] lists. A message is a text; or None (or "") for the answer that is awaited; or,
    from a chat page, a tuple (text, picture, image_process_mode) of a message that a picture, or a list of them,
    belongs to.
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
        return written(Marks(self.sep_style, self.system, self.sep, self.sep2), _turns(self))

    @property
    def end_mark(self) -> str:
        """What closes an answer, as text: it is no part of one, and nothing that follows it is."""
        sides = (SeparatorStyle.TWO, SeparatorStyle.LLAMA_2)
        return (self.sep2 or "") if self.sep_style in sides else self.sep

    def set_system(self, text: str) -> None:
        """Put a text in the place of the template's own system text, within the marks that the style has around it."""
        head, feed, _ = self.system.partition("\n")
        marked = self.sep_style in (SeparatorStyle.MPT, SeparatorStyle.CHATML) and head.startswith("<|")
        self.system = head + feed + text if marked else text

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
        shown = [(picture, mode) for _, pictures, mode in asked for picture in _listed(pictures)]
        return [self.process_image(picture, mode, return_pil) for picture, mode in shown]

    def to_gradio_chatbot(self) -> list[list[Any]]:
        """Return [question, answer] pairs as a page shows them; a picture stands in its question, as HTML."""
        said = [self._on_page(message) for _, message in self.messages[self.offset :]]
        return [list(pair) for pair in itertools.zip_longest(said[::2], said[1::2])]

    def _on_page(self, message: Any) -> str | None:
        if not isinstance(message, tuple):
            return message
        text, pictures, _ = message
        files = [self.process_image(picture, "Default", image_format="JPEG") for picture in _listed(pictures)]
        shown = [f'<img src="data:image/jpeg;base64,{data}" alt="the picture" />' for data in files]
        return "".join(shown) + text.replace(DEFAULT_IMAGE_TOKEN, "").strip()

    def copy(self) -> "Conversation":
        """Return a conversation that can grow without this one growing along."""
        return dataclasses.replace(self, messages=[list(message) for message in self.messages])

    def dict(self) -> Fields:
        """Return the six fields that LLaVA's logs hold, with tuple messages cut down to their text."""
        kept = ("system", "roles", "offset", "sep", "sep2")
        texts = [[role, _text(message)] for role, message in self.messages]
        return {name: getattr(self, name) for name in kept} | {"messages": texts}


def get_conv_template(name: str | Conversation) -> Conversation:
    """Return a fresh copy of the template of that name; InputError naming the known ones when there is none.

    Of a conversation itself, such as one that a checkpoint's chat template writes, a copy.
    """
    if isinstance(name, Conversation):
        return name.copy()
    if name not in conv_templates:
        known = ", ".join(sorted(conv_templates))
        raise InputError(
            f"--conv-mode must name a conversation template: got {name!r}, choose one of {known}, or in commands auto"
        )
    return conv_templates[name].copy()


@functools.cache
def _from_row(row: Template) -> Conversation:
    """One conversation for all the names of a row."""
    example = [list(turn) for turn in row.example]
    style = SeparatorStyle[row.style]
    return Conversation(row.system, row.roles, example, len(example), style, row.sep, row.sep2, row.version)


def _text(message: Any) -> str | None:
    return message[0] if isinstance(message, tuple) else message


def _listed(pictures: Any) -> list[Any]:
    return pictures if isinstance(pictures, list) else [pictures]


def _turns(conv: Conversation) -> list[Turn]:
    """Return (role, text) turns; when the first message is a tuple, its image tokens are moved to the front.

    It has at least one. Several that stand at its beginning already stay as they are, as in LLaVA-NeXT.
    """
    turns = [(role, _text(message)) for role, message in conv.messages]
    if not conv.messages or not isinstance(conv.messages[0][1], tuple):
        return turns
    role, text = turns[0]
    words, images = (text or "").replace(DEFAULT_IMAGE_TOKEN, "").strip(), (text or "").count(DEFAULT_IMAGE_TOKEN)
    if "mmtag" not in conv.version:
        placed = images > 1 and (text or "").startswith(DEFAULT_IMAGE_TOKEN)
        return [(role, text if placed else f"{DEFAULT_IMAGE_TOKEN}\n" * max(1, images) + words), *turns[1:]]
    user, assistant = conv.roles
    marked = f"<Image>{DEFAULT_IMAGE_TOKEN}</Image>" * max(1, images)
    return [(user, marked), (assistant, "Received."), (role, words), *turns[1:]]


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
conv_mistral_direct = conv_templates["mistral_direct"]
conv_mistral_orca = conv_templates["mistral_orca"]
conv_mistral_zephyr = conv_templates["mistral_zephyr"]
conv_chatml_direct = conv_templates["chatml_direct"]
conv_llava_llama_2_simple = conv_templates["llava_llama_2_simple"]
conv_llava_llama_2_mmtag = conv_templates["llava_llama_2_mmtag"]
conv_llava_llama_3 = conv_templates["llava_llama_3"]
conv_qwen = conv_templates["qwen_1_5"]
default_conversation = conv_vicuna_v1
