"""Prompts to ids. Every prompt of a server begins alike, and a conversation's next turn as the turn before it."""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from llava.mm_utils import tokenizer_image_token

PIECES = 512  # texts before, between and after pictures that are remembered; the one unused longest goes first
SHORT = 4000  # characters of a text that is remembered, and of a prompt that is tokenised in the server's own loop


class PromptIds:
    """`tokenizer_image_token` of one tokenizer, which is asked for a short text once. May be called from threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos_token_id = tokenizer.bos_token_id
        self.picture_token_id = getattr(tokenizer, "picture_token_id", None)
        self._known = lru_cache(PIECES)(self._read)

    def of(self, prompt: str) -> tuple[int, ...]:
        """Ids of a prompt, -200 for every "<image>"."""
        return tuple(tokenizer_image_token(prompt, self))  # type: ignore[arg-type]

    def __call__(self, text: str) -> SimpleNamespace:
        """A text as a tokenizer takes it: `input_ids` alone."""
        return SimpleNamespace(input_ids=(self._known if len(text) <= SHORT else self._read)(text))

    def _read(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text).input_ids)
