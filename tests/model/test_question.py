"""What a method that reads the question gets to read: the user's last words, whatever the template, and no answer."""

import pytest
import torch
from conftest import Load

from llava.conversation import conv_templates
from llava.errors import InputError
from llava.model.question import Asked, user_words

QUESTION = "Is there a red square: yes or no?\nAnswer with one word."


def after_the_picture(name: str, *turns: str) -> str:
    """The text that follows the picture in a prompt that waits for an answer."""
    conversation = conv_templates[name].copy()
    for number, turn in enumerate(("<image>\n" + turns[0], *turns[1:])):
        conversation.append_message(conversation.roles[number % 2], turn)
    conversation.append_message(conversation.roles[1], None)
    return conversation.get_prompt().split("<image>")[1]


@pytest.mark.parametrize("name", [name for name in conv_templates if "plain" not in name])
def test_the_templates_marks_are_taken_off(name: str) -> None:
    assert user_words(after_the_picture(name, QUESTION)) == QUESTION
    assert user_words(after_the_picture(name, "What is it?", "A dog.", QUESTION)) == QUESTION


def test_text_without_marks_is_the_question() -> None:
    assert user_words(f"\n{QUESTION}  ") == QUESTION and user_words("\n") == ""


def asked(ids: list[list[int]], labels: list[list[int]] | None = None) -> Asked:
    table = torch.nn.Embedding(100, 4)

    class Words:
        def decode(self, own: list[int], **_: object) -> str:
            return " ".join(map(str, own))

        def __call__(self, text: str, **_: object) -> object:
            return type("Encoding", (), {"input_ids": [int(word) for word in text.split()]})

    given, known = torch.tensor(ids), None if labels is None else torch.tensor(labels)
    return Asked.of(given, given > -300, known, Words, table)


def test_each_view_has_the_question_of_its_prompt() -> None:
    found = asked([[1, -200, 5, 6], [2, -200, -200, 7]])
    assert found.rows == (0, 1, 1) and found.questions((2, 1, 1)) == ["5 6", "5 6", "7", "7"]
    words, real = found.words((1, 1, 1))
    assert words.shape == (3, 2, 4) and real.tolist() == [[True, True], [True, False], [True, False]]


def test_answers_of_training_are_no_question() -> None:
    ids = [[1, -200, 5, 6, 8, 9, 7], [2, 3, 4, -200, 7, 8, 9]]
    labels = [[-100, -100, -100, -100, 8, -100, 7], [-100, 3, -100, -100, -100, 8, -100]]
    assert asked(ids, labels).questions((1, 1)) == ["5 6", "7"]


def test_a_prompt_without_a_question_is_refused() -> None:
    with pytest.raises(InputError, match="needs one after the picture: got a prompt that ends without"):
        asked([[1, -200]]).questions((1,))


def test_what_clip_cannot_be_asked_is_refused_in_one_line(load: Load) -> None:
    model = load("llava-tiny").model
    ids, pixels = torch.tensor([[1, -200, 5, 6]]), torch.zeros(1, 3, 336, 336)
    for name in ("cdpruner", "trim"):
        with pytest.raises(
            InputError, match="CLIP's text tower needs it in the vision tower's folder: .* has none"
        ) as refused:
            model.generate(ids, images=pixels, reduction={"method": name, "retain": 20}, max_new_tokens=1)
        assert "\n" not in str(refused.value)
