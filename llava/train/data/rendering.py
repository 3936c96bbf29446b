"""A conversation of training as one text, and where in it the answers are."""

from collections.abc import Sequence
from dataclasses import dataclass

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import Conversation
from llava.train.data.placing import Message
from llava.train.data.template import rule_of

SPEAKERS = ("human", "gpt")


@dataclass(frozen=True)
class Rendered:
    """A prompt with its answers.

    Attributes:
        text: the whole conversation as the template writes it.
        answers: (start, end) characters of each answer that has a text, its end mark included.
        messages: (speaker: 0 human or 1 gpt, text as the template writes that message alone), for v0's rule.
        header: what stands before the first message, for v0's rule.
    """

    text: str
    answers: tuple[tuple[int, int], ...]
    messages: tuple[tuple[int, str], ...] = ()
    header: str = ""


def render(messages: list[Message], conv: Conversation) -> Rendered:
    """The messages in a template, which has no example turns of its own in training.

    Args:
        messages: alternating, human first or gpt first; an answer before the first question is left out, except in the
            form of v0, as in LLaVA.
    """
    rule = rule_of(conv)
    if rule == "plain":
        return _plain(messages, conv)
    if rule == "v0":
        return _v0(messages, conv)
    return _turns([(SPEAKERS.index(message["from"]), message["value"]) for message in asked(messages)], conv)


def asked(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages from the first question on."""
    return messages[1:] if messages[0]["from"] == "gpt" else messages


def not_asked(messages: Sequence[Message]) -> bool:
    """Whether a conversation's first question is there and has no text."""
    return any(not message["value"] for message in asked(messages)[:1])


def _turns(turns: list[tuple[int, str]], conv: Conversation) -> Rendered:
    """Templates write one turn behind another, so what was written before a turn is a prefix of the whole."""
    answers = []
    for number, (speaker, text) in enumerate(turns):
        if speaker == 1 and text:
            before = _written([*turns[:number], (1, "")], conv)  # what inference ends with, where the answer begins
            said = _written(turns[: number + 1], conv)
            # Qwen's form writes a line feed behind the end mark, where inference has stopped.
            answers.append((len(before), said.rindex(conv.end_mark) + len(conv.end_mark)))
    return Rendered(_written(turns, conv), tuple(answers))


def _written(turns: list[tuple[int, str]], conv: Conversation) -> str:
    grown = conv.copy()
    grown.messages, grown.offset = [[conv.roles[speaker], text] for speaker, text in turns], 0
    return grown.get_prompt()


def _plain(messages: list[Message], conv: Conversation) -> Rendered:
    """Pre-training: the picture and its caption; the question is not shown."""
    end = conv.sep
    caption = messages[1]["value"] + end
    images = DEFAULT_IMAGE_TOKEN * messages[0]["value"].count(DEFAULT_IMAGE_TOKEN)
    return Rendered(images + caption, ((len(images), len(images) + len(caption)),))


def _v0(messages: list[Message], conv: Conversation) -> Rendered:
    """The oldest form, another than inference's: `### Human: ...` on lines of their own, `### ` at the end."""
    header, mark = f"{conv.system}\n\n", "### "
    pieces = []
    text, answers = header, []
    for message in messages:
        speaker = SPEAKERS.index(message["from"])
        role = conv.roles[speaker]
        piece = f"{mark}{role}: {message['value']}\n"
        if speaker == 1 and message["value"]:
            # The mark that follows is where inference stops, so it belongs to the answer.
            answers.append((len(text) + len(f"{mark}{role}:"), len(text) + len(piece) + len(mark.rstrip())))
        pieces.append((speaker, piece))
        text += piece
    return Rendered(text + mark, tuple(answers), tuple(pieces), header)
