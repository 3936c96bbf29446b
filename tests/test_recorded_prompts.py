"""Every prompt that LLaVA's and LLaVA-NeXT's own code was recorded with: our templates write it, with its ids."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llava.conversation import get_conv_template
from llava.eval.runs.conv_mode import own_mode
from llava.mm_utils import tokenizer_image_token
from llava.model.tokenizer import load_tokenizer

FAMILIES = Path(__file__).parent / "parity/families"
RECORDED = json.loads((FAMILIES / "prompts.json").read_text())
BARE = "image-first-and-last"  # recorded without a template
MARKED = "start-end"
TEMPLATES = {
    "cls-patch": "vicuna_v1",
    "llama3-next": "llava_llama_3",
    "mistral-next": "mistral_instruct",
    "mpt": "mpt",
    "mqa": "vicuna_v1",
    "next-qwen-clip": "qwen_1_5",
    "ov-qwen": "qwen_1_5",
    "s2": "vicuna_v1",
    "start-end": "vicuna_v1",
    "vicuna": "vicuna_v1",
    "vicuna-left": "vicuna_v1",
    "vicuna-short": "vicuna_v1",
    "video-llama": "vicuna_v1",
    "yi-next": "chatml_direct",
}
# Checkpoints of which only prompts are here, and one with the same tokenizer.
LIKE = {"vicuna-left": "vicuna", "vicuna-short": "vicuna", "start-end": "vicuna"}


@cache
def tokenizer(checkpoint: str) -> Any:
    made = load_tokenizer(str(FAMILIES / LIKE.get(checkpoint, checkpoint)))
    if checkpoint == MARKED:
        made.add_tokens(["<im_patch>", "<im_start>", "<im_end>"], special_tokens=True)
    return made


def written_again(prompt: str, name: str) -> str:
    """The prompt of the texts that stand in one, which is cut at what the template puts around them."""
    conv = get_conv_template(name)
    for role, text in zip(conv.roles * 2, ("\x001", "\x002", "\x001", None)):
        conv.append_message(role, text)
    head, question, answer = re.split("\x001|\x002", conv.get_prompt())[:3]
    tail = conv.get_prompt().split("\x001")[-1]
    assert prompt.startswith(head) and prompt.endswith(tail), prompt
    said = re.split(f"{re.escape(question)}|{re.escape(answer)}", prompt[len(head) : len(prompt) - len(tail)])
    conv.messages = conv.messages[:0]
    for number, text in enumerate([*said, None]):
        conv.append_message(conv.roles[number % 2], text)
    return conv.get_prompt()


@pytest.mark.parametrize("case", sorted(set(RECORDED) - {BARE}))
def test_prompts(case: str) -> None:
    name = TEMPLATES[RECORDED[case]["checkpoint"]]
    assert [written_again(prompt, name) for prompt in RECORDED[case]["prompts"]] == RECORDED[case]["prompts"]


@pytest.mark.parametrize("case", sorted(RECORDED))
def test_ids(case: str) -> None:
    made = tokenizer(RECORDED[case]["checkpoint"])
    assert [tokenizer_image_token(prompt, made) for prompt in RECORDED[case]["prompts"]] == RECORDED[case]["ids"]


def test_llama_3_begins_with_bos_twice_and_qwen_with_none() -> None:
    llama, qwen = tokenizer("llama3-next"), tokenizer("ov-qwen")
    assert RECORDED["llama3-next"]["ids"][0][:3] == [llama.bos_token_id, llama.bos_token_id, 642]
    assert RECORDED["ov-video"]["ids"][0][0] == qwen.convert_tokens_to_ids("<|im_start|>")


@pytest.mark.parametrize("checkpoint", sorted(set(TEMPLATES) - set(LIKE)))
def test_auto_takes_what_a_checkpoint_was_recorded_with(checkpoint: str) -> None:
    assert own_mode(str(FAMILIES / checkpoint)) == TEMPLATES[checkpoint]
