"""The question in a prompt is the user's words alone, whatever template is around them."""

import pytest

from llava.conversation import SeparatorStyle, conv_templates, get_conv_template
from llava.model.question import user_words

CHATS = sorted(name for name, conv in conv_templates.items() if conv.sep_style != SeparatorStyle.PLAIN)


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("question", ["What is it?", "Is the user: sign red?", "two\nlines"])
def test_one_turn(name: str, question: str) -> None:
    conv = get_conv_template(name)
    conv.append_message(conv.roles[0], f"<image>\n{question}")
    conv.append_message(conv.roles[1], None)
    assert user_words(conv.get_prompt().split("<image>")[-1]) == question


@pytest.mark.parametrize("name", CHATS)
def test_the_last_turn_is_asked(name: str) -> None:
    conv = get_conv_template(name)
    for number, said in enumerate(["<image>\nWhat?", "A dog.", "Which colour?", None]):
        conv.append_message(conv.roles[number % 2], said)
    assert user_words(conv.get_prompt().split("<image>")[-1]) == "Which colour?"
