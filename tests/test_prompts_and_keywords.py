"""A prompt's ids with pictures in them, and keywords at which an answer ends."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, StoppingCriteriaList

from llava.errors import InputError
from llava.mm_utils import (
    KeywordsStoppingCriteria,
    tokenizer_image_token,
)


class _Letters:
    """A tokenizer: BOS is 1 (put first if `adds_bos`), EOS is 2 and special, a letter is its code point."""

    bos_token_id = 1

    def __init__(self, adds_bos: bool = True) -> None:
        self.start = [1] if adds_bos else []

    def __call__(self, text: str) -> SimpleNamespace:
        ids = [2 if letter == "$" else ord(letter) for letter in text]
        return SimpleNamespace(input_ids=self.start + ids)

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(i) for i in ids if i > 2).replace("&", "##")  # "&": one id that writes two letters


def letters(adds_bos: bool = True) -> Any:  # Any: it passes for a transformers tokenizer
    return _Letters(adds_bos)


@pytest.mark.parametrize(
    "prompt, with_bos, without",
    [
        ("ab<image>c", [1, 97, 98, -200, 99], [97, 98, -200, 99]),
        ("<image>\nc", [1, -200, 10, 99], [-200, 10, 99]),
        ("a<image><image>", [1, 97, -200, -200], [97, -200, -200]),
        ("abc", [1, 97, 98, 99], [97, 98, 99]),
        ("", [1], []),
    ],
)
def test_image_tokens(prompt: str, with_bos: list[int], without: list[int]) -> None:
    assert tokenizer_image_token(prompt, letters()) == with_bos
    assert tokenizer_image_token(prompt, letters(adds_bos=False)) == without
    ids = tokenizer_image_token(prompt, letters(), image_token_index=-7, return_tensors="pt")
    assert ids.dtype == torch.int64 and ids.tolist() == [-7 if i == -200 else i for i in with_bos]


def test_unknown_return_tensors() -> None:
    with pytest.raises(InputError, match=r"'pt'.*got 'np'"):
        tokenizer_image_token("a", letters(), return_tensors="np")  # type: ignore[call-overload]


def stops(keywords: list[str], *rows: str, adds_bos: bool = True) -> list[bool]:
    tokenizer = letters(adds_bos)
    prompt = torch.full((len(rows), 50), ord("#"))  # longer than the answer and full of keywords: must not matter
    output = torch.tensor([tokenizer(row).input_ids[len(tokenizer.start) :] for row in rows]).reshape(len(rows), -1)
    verdict = KeywordsStoppingCriteria(keywords, tokenizer, prompt)(output, None)
    assert verdict.dtype == torch.bool and verdict.shape == (len(rows),)
    return verdict.tolist()


@pytest.mark.parametrize("adds_bos", [True, False])
def test_each_row_stops_for_itself(adds_bos: bool) -> None:
    assert stops(["###"], "ab###", "###ab", "abcde", adds_bos=adds_bos) == [True, False, False]
    assert stops(["###", "x"], "abx", "ab#", adds_bos=adds_bos) == [True, False]


def test_keywords_by_ids_and_by_text() -> None:
    assert stops(["$"], "ab$", "abc") == [True, False]  # a special token is not in the decoded text, only in the ids
    assert stops(["##"], "ab&", "abc") == [True, False]  # other ids, same letters
    assert stops(["####"], "#", "a") == [False, False]  # shorter than the keyword
    assert stops(["#"], "", "") == [False, False]  # nothing written yet
    assert stops([], "a") == [False]


@pytest.mark.parametrize("keywords", ["###", ["###", ""]])
def test_unusable_keywords(keywords: list[str]) -> None:
    with pytest.raises(InputError, match="non-empty strings"):
        KeywordsStoppingCriteria(keywords, letters(), torch.zeros(1, 1))


def test_generate_obeys_the_keywords() -> None:
    torch.manual_seed(0)
    size = LlamaConfig(vocab_size=128, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(size).eval()
    prompt = {"inputs_embeds": torch.randn(2, 3, 16), "attention_mask": torch.ones(2, 3, dtype=torch.long)}
    # transformers writes pads after a finished row only where there is an EOS; 127 never comes up here.
    settings = {"do_sample": False, "eos_token_id": 127, "pad_token_id": 0, "max_new_tokens": 8}
    free = model.generate(**prompt, **settings)
    assert free.shape == (2, 8) and free[0, 4] not in free[0, :4] and free[0, 4] not in free[1]
    keyword = KeywordsStoppingCriteria([chr(int(free[0, 4]))], letters(), torch.zeros(2, 3))
    held = model.generate(**prompt, **settings, stopping_criteria=StoppingCriteriaList([keyword]))
    assert held[0].tolist() == [*free[0, :5].tolist(), 0, 0, 0] and torch.equal(held[1], free[1])
