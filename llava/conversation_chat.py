"""A conversation that a checkpoint's own chat template writes down, where LLaVA's are named."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation
from llava.errors import InputError
from llava.files.reading import reason

CHAT_TEMPLATE = "chat_template"  # its name among conversation modes


@dataclasses.dataclass
class ChatConversation(Conversation):
    """What was said, written by Jinja text that came with a checkpoint, in transformers' sandbox.

    Attributes:
        template: Jinja.
        tokens: special tokens by their role, as templates name them.
        adds_bos: the tokenizer puts BOS in front of a text, so that the template's own is left out.
    """

    template: str = ""
    tokens: Mapping[str, str] = dataclasses.field(default_factory=dict)
    adds_bos: bool = False

    def get_prompt(self) -> str:
        """The prompt; InputError where the template cannot write it."""
        messages = [{"role": "system", "content": self._content(self.system)}] if self.system else []
        waits = bool(self.messages) and not self.messages[-1][1]
        for role, message in self.messages[: -1 if waits else None]:
            text = message[0] if isinstance(message, tuple) else message
            messages.append({"role": role, "content": self._content(text or "")})
        given = {"chat_template": self.template, "add_generation_prompt": waits, **self.tokens}
        try:
            made: Any = render_jinja_template([messages], **given)
        except Exception as error:  # a template may raise of any kind; nothing but it runs here
            raise InputError(
                f"the checkpoint's chat template cannot write this conversation: {reason(error)}; name a conversation "
                f"template with --conv-mode"
            ) from None
        text = made[0][0] if isinstance(made, tuple) else made[0]
        bos = self.tokens.get("bos_token", "")
        return text.removeprefix(bos) if self.adds_bos else text

    @property
    def end_mark(self) -> str:
        """None: answers end at the tokens of `generation_config.json`."""
        return ""

    def set_system(self, text: str) -> None:
        """Put a system text before the conversation."""
        self.system = text

    def _content(self, text: str) -> Any:
        """A message as templates of pictures take it: pictures and texts in order; a plain text for any other."""
        marked = text.replace(DEFAULT_IM_START_TOKEN + DEFAULT_IMAGE_TOKEN + DEFAULT_IM_END_TOKEN, DEFAULT_IMAGE_TOKEN)
        if "image" not in self.template:
            return marked
        first, *others = marked.split(DEFAULT_IMAGE_TOKEN)
        parts: list[dict[str, str]] = [{"type": "text", "text": first}] if first else []
        for after in others:
            words = after.removeprefix("\n")  # the template says what follows a picture
            parts += [{"type": "image"}, *([{"type": "text", "text": words}] if words else [])]
        return parts


def chat_conversation(template: str, tokenizer: Any) -> ChatConversation:
    """An empty conversation under a chat template."""
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    tokens = {name: str(getattr(tokenizer, name)) for name in names if getattr(tokenizer, name, None) is not None}
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    roles = ("user", "assistant")
    return ChatConversation("", roles, sep="", template=template, tokens=tokens, adds_bos=adds_bos)
