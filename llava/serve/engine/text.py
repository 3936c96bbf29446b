"""An answer's text while it grows: whole characters only, and nothing of what may become a stop text."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

UNFINISHED = "\ufffd"  # what a tokenizer writes for bytes that are no character yet

KNOWN = 2**14  # runs of few tokens whose text is remembered


class Writer:
    """A tokenizer that is asked for the text of a few tokens once, as all answers have much in common."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._letter = tokenizer("a", add_special_tokens=False).input_ids[-1]
        self._known = lru_cache(KNOWN)(self._read)

    def after_letter(self, tokens: list[int]) -> str:
        """The text of tokens behind a letter, the letter with it."""
        return self._known(tuple(tokens)) if len(tokens) < 8 else self._read(tuple(tokens))

    def _read(self, tokens: tuple[int, ...]) -> str:
        return self._tokenizer.decode([self._letter, *tokens], skip_special_tokens=True)


@dataclass
class Growing:
    """The text of an answer, token by token.

    A tokenizer writes a token differently at the beginning of a text than after another. So tokens are decoded behind a
    letter and the few tokens before them, and what those give by themselves is taken off: each token is decoded twice
    or so, not once for every token after it.

    Attributes:
        stop: texts that end it.
        ended: a stop text was found; what follows it is dropped.
    """

    writer: Writer
    stop: tuple[str, ...] = ()
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    _text: str = ""  # all whole characters so far
    _said: int = 0  # characters of it that were handed out
    _before: int = 0  # the first token of those that new ones are decoded behind
    _decoded: int = 0  # tokens whose text is in `_text`

    def add(self, token: int, last: bool = False) -> str:
        """Take a token; what can be said now that could not before. With `last`, all that is left."""
        self.tokens.append(token)
        return self._more(last)

    def finish(self) -> str:
        """What was held back, when no token follows."""
        return "" if self.ended else self._more(True)

    def _more(self, last: bool) -> str:
        self._decode(last)
        found = [at for at in (self._text.find(word) for word in self.stop) if at >= 0]
        if found:
            self._text, self.ended = self._text[: min(found)], True
        # Spaces around the answer are the prompt's and the end token's, as everywhere in this package.
        end = len(self._text.rstrip()) if last or self.ended else len(self._text) - _undecided(self._text, self.stop)
        new = self._text[self._said : end]
        self._said = max(self._said, end)
        return new

    def _decode(self, last: bool) -> None:
        known = self.writer.after_letter(self.tokens[self._before : self._decoded])
        text = self.writer.after_letter(self.tokens[self._before :])
        if text.endswith(UNFINISHED) and not last:
            return
        new = text[len(known) :]
        self._text += new if self._text else new.lstrip()
        self._before, self._decoded = self._decoded, len(self.tokens)


def _undecided(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end may begin a stop text, or be outer white space."""
    held = 0
    for word in stop:
        held = max(held, next((n for n in range(min(len(word), len(text)), 0, -1) if text.endswith(word[:n])), 0))
    body = text[: len(text) - held]
    return held + len(body) - len(body.rstrip())
