"""The pieces of continuous batching: drawing, growing text, stop texts."""

from random import Random

import pytest
import torch
from conftest import Load

from llava.errors import InputError
from llava.serve.engine.request import Sampling
from llava.serve.engine.sampling import draw
from llava.serve.engine.text import Growing, Writer


def test_draws_follow_the_probabilities() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.15, 0.1]])).expand(4000, -1)
    hot, cut = Sampling(temperature=1.0), Sampling(temperature=1.0, top_p=0.7)
    sources = [Random(number) for number in range(4000)]
    share = torch.bincount(draw(logits, [hot] * 4000, sources).tokens, minlength=4) / 4000
    assert torch.allclose(share, torch.tensor([0.5, 0.25, 0.15, 0.1]), atol=0.03)
    share = torch.bincount(draw(logits, [cut] * 4000, sources).tokens, minlength=4) / 4000
    assert torch.allclose(share, torch.tensor([2 / 3, 1 / 3, 0, 0]), atol=0.03)


def test_rows_are_drawn_by_their_own_settings() -> None:
    logits = torch.tensor([[0.0, 5.0, 1.0], [9.0, 0.0, 0.0], [float("nan"), 0.0, 1.0]])
    drawn = draw(logits, [Sampling(), Sampling(temperature=0.01), Sampling(logprobs=2)], [Random(0)] * 3)
    assert drawn.numbers[:2] == [1, 0] and drawn.finite == [True, True, False]
    assert drawn.likeliest is not None and [len(row) for row in drawn.likeliest] == [2, 2, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"stop": ("",)},
    ],
)
def test_settings_that_cannot_be(wrong: dict) -> None:
    with pytest.raises(InputError):
        Sampling(**wrong)


def grown(load: Load, text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    tokenizer = load("llava-tiny-12l").tokenizer
    growing = Growing(Writer(tokenizer), stop)
    said = []
    for token in tokenizer(text, add_special_tokens=False).input_ids:
        said.append(growing.add(token))
        if growing.ended:
            return said, True
    return [*said, growing.finish()], False


@pytest.mark.parametrize("text", ["A red car.", "Le café où 目 😀 est", "a", "  two  spaces "])
def test_text_grows_by_whole_characters(load: Load, text: str) -> None:
    said, ended = grown(load, text)
    assert "".join(said) == text.strip() and not ended and not any("\ufffd" in piece for piece in said)


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("one END two", ("END",), "one"),
        ("one EN two", ("END",), "one EN two"),
        ("one EN", ("END",), "one EN"),
        ("a###b", ("##", "###"), "a"),
    ],
)
def test_nothing_of_a_stop_text_is_said(load: Load, text: str, stop: tuple[str, ...], left: str) -> None:
    said, ended = grown(load, text, stop)
    assert "".join(said) == left and ended == (left != text)
