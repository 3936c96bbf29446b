"""A small Qwen2.5-VL of random weights on disk, with a processor whose words are those of the shapes benchmark."""

from pathlib import Path
from typing import Any

import torch
from lmms_runs import SHAPES
from tiny_hf import END, PAD, PICTURE, START, VIDEO, WORDS, qwen2_5
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

MARKS = {PAD: "<pad>", 2: "<end>", START: "<|vision_start|>", END: "<|vision_end|>"}
MARKS |= {PICTURE: "<|image_pad|>", VIDEO: "<|video_pad|>"}
CHAT = """{% for message in messages %}{{ message["role"] }} {% if message["content"] is string %}\
{{ message["content"] }} {% else %}{% for part in message["content"] %}{% if part["type"] == "image" %}\
<|vision_start|><|image_pad|><|vision_end|> {% else %}{{ part["text"] }} {% endif %}{% endfor %}{% endif %}\
{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"""


def save(folder: Path) -> Path:
    """The checkpoint's folder."""
    model = qwen2_5().to(torch.bfloat16)
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def processor() -> Any:
    """Splits at blanks."""
    made = Tokenizer(WordLevel(_vocabulary(), unk_token="user"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS.values()])
    own = {"pad_token": "<pad>", "eos_token": "<end>", "padding_side": "left"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **own)
    eyes = Qwen2VLImageProcessor(patch_size=14, min_pixels=56 * 56, max_pixels=224 * 224)
    return Qwen2_5_VLProcessor(eyes, tokenizer, Qwen2VLVideoProcessor(), chat_template=CHAT)


def _vocabulary() -> dict[str, int]:
    """The benchmark's first words, with the marks where the model has them."""
    words = dict.fromkeys(["user", "system", "assistant"])
    for line in (SHAPES / "questions.jsonl").read_text().splitlines()[:400]:
        words |= dict.fromkeys(line.replace("\\n", " ").replace('"', " ").split())
    rest = iter([*words, *(f"w{number}" for number in range(96))])
    named = {number: MARKS.get(number) or next(rest) for number in range(96) if number in MARKS or number < WORDS}
    return {named.get(number, f"unused{number}"): number for number in range(96)}
