"""An answer's text while it grows: whole characters only, and nothing of what may become a stop text."""

from dataclasses import dataclass, field
from typing import Any

UNFINISHED = "\ufffd"  # what a tokenizer writes for bytes that are no character yet


@dataclass
class Growing:
    """The text of an answer, token by token.

    Attributes:
        stop: texts that end it.
        ended: a stop text was found; what follows it is dropped.
    """

    tokenizer: Any
    stop: tuple[str, ...] = ()
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    _said: int = 0  # characters handed out

    def add(self, token: int, last: bool = False) -> str:
        """Take a token; what can be said now that could not before. With `last`, all that is left."""
        self.tokens.append(token)
        return self._more(last)

    def finish(self) -> str:
        """What was held back, when no token follows."""
        return "" if self.ended else self._more(True)

    def _more(self, last: bool) -> str:
        # Spaces around the answer are the prompt's and the end token's, as everywhere in this package.
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True).lstrip()
        found = [at for at in (text.find(word) for word in self.stop) if at >= 0]
        if found:
            text, self.ended = text[: min(found)], True
        end = len(text.rstrip()) if last or self.ended else len(text) - _undecided(text, self.stop)
        new = text[self._said : end]
        self._said = max(self._said, end)
        return new


def _undecided(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end may still change, begin a stop text, or be outer white space."""
    held = len(text) - len(text.rstrip(UNFINISHED))
    for word in stop:
        held = max(held, next((n for n in range(min(len(word), len(text)), 0, -1) if text.endswith(word[:n])), 0))
    body = text[: len(text) - held]
    return held + len(body) - len(body.rstrip())
