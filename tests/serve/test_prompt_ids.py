"""Prompts of a server to ids: those of `tokenizer_image_token`, each short text asked of the tokenizer once."""

from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Load

from llava.mm_utils import tokenizer_image_token
from llava.serve.api.tokens import SHORT, PromptIds

PROMPTS = ("USER: <image>\nWhat? ASSISTANT:", "<image>", "", "no picture", "a<image>b<image>c", "a" * (SHORT + 1))


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt[:20])
def test_ids_are_the_same_the_second_time_too(load: Load, prompt: str) -> None:
    tokenizer = load("llava-tiny-12l").tokenizer
    ids, wanted = PromptIds(tokenizer), tuple(tokenizer_image_token(prompt, tokenizer))
    assert ids.of(prompt) == ids.of(prompt) == wanted


def test_a_short_text_is_tokenised_once() -> None:
    asked: list[str] = []

    def tokenizer(text: str) -> Any:
        asked.append(text)
        return SimpleNamespace(input_ids=[1, *map(ord, text)])

    tokenizer.bos_token_id = 1  # type: ignore[attr-defined]
    ids = PromptIds(tokenizer)
    assert ids.of("ab<image>c") == ids.of("ab<image>c") == (1, 97, 98, -200, 99)
    assert ids.of("ab<image>d") == (1, 97, 98, -200, 100) and asked == ["ab", "c", "d"]
    long = "x" * (SHORT + 1)
    assert ids.of(long) == ids.of(long) and asked[3:] == [long, long]


def test_a_tokenizer_that_knows_pictures_keeps_its_own_mark() -> None:
    def tokenizer(text: str) -> Any:
        return SimpleNamespace(input_ids=[5, 7, 5])

    tokenizer.bos_token_id, tokenizer.picture_token_id = 1, 7  # type: ignore[attr-defined]
    assert PromptIds(tokenizer).of("x<image>y") == (5, -200, 5)
