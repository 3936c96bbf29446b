"""Conversations of a template, for tests."""

from llava.conversation import Conversation, get_conv_template


def chat(name: str, *messages: str | tuple[str, ...] | None) -> Conversation:
    """Return a fresh conversation in which user and assistant said `messages` in turn."""
    conv = get_conv_template(name)
    for i, message in enumerate(messages):
        conv.append_message(conv.roles[i % 2], message)
    return conv
