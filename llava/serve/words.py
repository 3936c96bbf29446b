"""What a line typed into the chat means: a message, or one of the commands that begin with a slash."""

import shlex
from dataclasses import dataclass

from llava.errors import InputError

HELP = {
    "/image PATH": "show a picture with the next message; several may be shown",
    "/method NAME [TOKENS]": "reduce with another method, to so many image tokens per LLM layer on average",
    "/kept [PATH]": "write a picture of the image tokens that were kept (kept.png)",
    "/reset": "forget the conversation and its pictures",
    "/help": "these lines",
    "/exit": "leave, as Ctrl-D does",
}
KNOWN = {usage.split()[0]: usage for usage in HELP}


@dataclass(frozen=True)
class Line:
    """`command` with its slash, empty for a message; `words` after it, or the message alone."""

    command: str
    words: tuple[str, ...]


def read_line(text: str) -> Line:
    """Understand what was typed.

    Raises:
        InputError: for an unknown command, quotes that do not close, too many or too few words.
    """
    text = text.strip()
    if not text.startswith("/"):
        return Line("", (text,))
    try:
        command, *words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"quotes in a command must close: {error}; type /help") from None
    if command not in KNOWN:
        raise InputError(f"unknown command {command!r}: expected one of {', '.join(KNOWN)}; a message has no slash")
    places = KNOWN[command].split()[1:]
    needed = [place for place in places if not place.startswith("[")]
    if not len(needed) <= len(words) <= len(places):
        raise InputError(f"{command} is used as {KNOWN[command]!r}: got {len(words)} words after it")
    return Line(command, tuple(words))


def tokens_of(word: str) -> int:
    """A number of image tokens."""
    if not (word.isascii() and word.isdecimal() and len(word) < 10 and int(word) > 0):
        raise InputError(f"a number of image tokens must be a whole number of at least 1: got {word!r}")
    return int(word)
