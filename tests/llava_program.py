"""What the tests of programs written for LLaVA share: a question, made as such programs make it, and its answer."""

from typing import Any

import pytest
import torch
from conftest import PARITY, Loaded, sample

from llava.constants import DEFAULT_IMAGE_TOKEN, IMAGE_TOKEN_INDEX
from llava.conversation import conv_templates
from llava.eval.run_llava import load_images
from llava.mm_utils import process_images, tokenizer_image_token

CHECKPOINT = str(PARITY / "llava-tiny-12l")
PICTURE = str(PARITY / "images" / "0.png")
QUESTION = "What color is the circle?"
TO_COME = pytest.mark.xfail(strict=True, reason="to come")


def expected(loaded: Loaded, count: int = 4, **settings: Any) -> torch.Tensor:
    """The greedy answer to the question, (count,), by the project's own call."""
    asked = sample(loaded, QUESTION, "0.png")
    return loaded.model.generate(**asked._asdict(), do_sample=False, max_new_tokens=count, **settings)[0]


def prompt_of(question: str = QUESTION) -> str:
    """The prompt, made as LLaVA's programs make it."""
    conv = conv_templates["vicuna_v1"].copy()
    conv.append_message(conv.roles[0], DEFAULT_IMAGE_TOKEN + "\n" + question)
    conv.append_message(conv.roles[1], None)
    return conv.get_prompt()


def input_of(loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor, list]:
    """ids (1, L), pixels and sizes of the question."""
    [image] = load_images([PICTURE])
    pixels = process_images([image], loaded.processor, loaded.model.config)
    ids = tokenizer_image_token(prompt_of(), loaded.tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")
    return ids.unsqueeze(0), pixels, [image.size]
