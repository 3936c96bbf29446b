"""Chat messages to the prompt of a conversation template, and the addresses of their pictures."""

from dataclasses import dataclass

from llava.constants import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation, get_conv_template
from llava.serve.api.errors import Refusal
from llava.serve.api.schema import ImagePart, Message


@dataclass(frozen=True)
class Prompt:
    """`text` with an `<image>` for each of `urls`, in order."""

    text: str
    urls: tuple[str, ...]


def prompt_of(messages: list[Message], conv_mode: str | Conversation, start_end: bool) -> Prompt:
    """Write messages down under a template; a system message takes the place of the template's own.

    Args:
        start_end: the checkpoint marks where pictures begin and end (`mm_use_im_start_end`).

    Raises:
        Refusal: 400 for turns that do not alternate, empty ones, and text that holds an image token.
    """
    conversation = get_conv_template(conv_mode)
    conversation.messages, conversation.offset = [], 0
    urls: list[str] = []
    turns = list(messages)
    if turns[0].role in ("system", "developer"):
        conversation.set_system(_written(turns.pop(0), 0, urls, start_end))
        if urls:
            raise Refusal(400, "a system message holds no picture; put it into a user's message", param="messages.0")
    first = len(messages) - len(turns)
    for number, message in enumerate(turns):
        side = number % 2
        if message.role != ("user", "assistant")[side]:
            raise Refusal(
                400,
                f"messages must go from user to assistant in turn and end with the user: number {number + first} is "
                f"{message.role}",
                param=f"messages.{number + first}",
            )
        text = _written(message, number + first, urls, start_end)
        if not text.strip():
            raise Refusal(400, f"message {number + first} is empty; give it text", param=f"messages.{number + first}")
        conversation.append_message(conversation.roles[side], text)
    if not turns or turns[-1].role != "user":
        raise Refusal(400, "the last message must be the user's", param="messages")
    conversation.append_message(conversation.roles[1], None)
    return Prompt(conversation.get_prompt(), tuple(urls))


def _written(message: Message, number: int, urls: list[str], start_end: bool) -> str:
    """A message's text, a line with an image token for each picture; the pictures' addresses are added to `urls`."""
    token = DEFAULT_IMAGE_TOKEN
    if start_end:
        token = DEFAULT_IM_START_TOKEN + token + DEFAULT_IM_END_TOKEN
    parts = [message.content or ""] if not isinstance(message.content, list) else message.content
    text = ""
    for part in parts:
        if isinstance(part, ImagePart):
            urls.append(part.image_url.url)
            text += f"{token}\n"
            continue
        said = part if isinstance(part, str) else part.text
        if DEFAULT_IMAGE_TOKEN in said:
            raise Refusal(
                400,
                f"text must not hold {DEFAULT_IMAGE_TOKEN}; send the picture as image_url",
                param=f"messages.{number}",
            )
        text += said
    return text
