"""Prompts that do not fit into the context: cut as LLaVA cuts them, and said."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from tiny_models import noise, tiny_model

from llava.model.context import Cut, new_tokens, warn_of_cut, warn_of_length
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from llava.reduction import create

GREEDY = {"do_sample": False, "eos_token_id": None, "max_new_tokens": 2}
IDS = torch.tensor([[1, 5, -200, 6, 7, 8]])  # 25 tokens: an image of 4 x 4 patches is kept whole, 20 when reduced
LENGTH = 5 + 16


def model_of(limit: int | None, positions: int = 4096, **reduced: int) -> LlavaLlamaForCausalLM:
    model = tiny_model(side=4, layers=2, tokenizer_model_max_length=limit)
    model.config.max_position_embeddings = positions
    model.reduction = create("visionzip", **reduced) if reduced else None
    return model


@pytest.mark.parametrize(
    ("limit", "lost"),
    [(20, "its end is lost"), (18, "nothing of the text after its last image is left"), (7, "nothing of the text")],
)
def test_a_cut_prompt_is_said_with_numbers_and_a_remedy(limit: int, lost: str) -> None:
    model = model_of(limit)
    wanted = (
        f"a prompt is cut off: with its images it has 21 tokens, tokenizer_model_max_length in config.json "
        f"allows {limit}, so {lost}"
    )
    with pytest.warns(UserWarning) as said:
        model.generate(IDS, images=noise(model, 1), **GREEDY)
    assert [str(one.message).startswith(wanted) for one in said] == [True]
    assert "; give fewer images or less text, keep fewer image tokens" in str(said[0].message)
    with pytest.warns(UserWarning, match=wanted), torch.no_grad():
        model(IDS, images=noise(model, 1))
    prefix = model.encode_image(IDS, noise(model, 1))
    with pytest.warns(UserWarning, match=wanted):
        model.ask(prefix, [IDS[0], IDS[0]], **GREEDY)


def test_fewer_image_tokens_make_room() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = model_of(18, dominant=6, contextual=2)
        model.generate(IDS, images=noise(model, 1), **GREEDY)


def test_nothing_is_said_of_what_fits_or_in_training() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (model_of(LENGTH, LENGTH + 2), model_of(None, LENGTH + 2), model_of(10**30)):
            model.generate(IDS, images=noise(model, 1), **GREEDY)
        model = model_of(18).train()
        model(IDS, images=noise(model, 1), labels=IDS)


def test_positions_beyond_those_the_model_knows_are_said() -> None:
    model = model_of(None, LENGTH + 1)
    prefix = model.encode_image(IDS, noise(model, 1))
    wanted = "a prompt has 21 tokens with its images and may be answered by 2 more: .* max_position_embeddings = 22 in"
    with pytest.warns(UserWarning, match=wanted):
        model.generate(IDS, images=noise(model, 1), **GREEDY)
    with pytest.warns(UserWarning, match=wanted):
        model.ask(prefix, [IDS[0]], **GREEDY)
    model = model_of(None, 20)
    with pytest.warns(UserWarning, match="a prompt has 21 tokens with its images: the model knows positions"):
        model.generate(IDS, images=noise(model, 1), **GREEDY)


def test_words() -> None:
    with pytest.warns(UserWarning, match=r"with its images it has 70 tokens.* allows 60, so its end is lost;"):
        warn_of_cut(Cut(70, 60, question_lost=False))
    config = SimpleNamespace(max_position_embeddings=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_length(55, 5, config)
        warn_of_length(10**6, 0, SimpleNamespace())
    assert new_tokens(SimpleNamespace(max_new_tokens=7), {}) == 7
    assert new_tokens(SimpleNamespace(max_new_tokens=7), {"max_new_tokens": 3}) == 3
    assert new_tokens(SimpleNamespace(), {"max_new_tokens": None}) == 0
