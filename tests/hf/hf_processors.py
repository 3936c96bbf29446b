"""Processors of transformers' own for the tiny models: words w0 to w95 by their numbers, placeholders by theirs."""

from collections.abc import Callable
from typing import Any

import transformers
from tiny_hf import END, PAD, PICTURE, PINPOINTS, START, VIDEO
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

IMAGE = {PICTURE: "<image>", VIDEO: "<video>"}
QWEN = {PICTURE: "<|image_pad|>", VIDEO: "<|video_pad|>", START: "<|vision_start|>", END: "<|vision_end|>"}
INTERN = {PICTURE: "<IMG_CONTEXT>", VIDEO: "<video>", START: "<img>", END: "</img>"}
SHOWN = {"qwen": "<|vision_start|><|image_pad|><|vision_end|>", "internvl": "<IMG_CONTEXT>"}
CHAT = """{% for message in messages %}{% for part in message["content"] %}{% if part["type"] == "image" %}@ \
{% else %}{{ part["text"] }} {% endif %}{% endfor %}{% endfor %}"""
EDGE = {"height": 84, "width": 84}
# Those that have a processor of videos, which transformers makes with torchvision alone.
WITH_VIDEOS = ("onevision", "qwen2", "qwen2_5", "qwen3", "internvl")


def tokenizer(marks: dict[int, str], **named: str) -> Any:
    """Splits at blanks; `named`: tokens that a processor asks its tokenizer for."""
    words = {marks.get(number, f"w{number}"): number for number in range(96)}
    made = Tokenizer(WordLevel(words, unk_token="w5"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens([AddedToken(mark, special=True) for mark in marks.values()])
    extra = {"extra_special_tokens": named} if named else {}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=f"w{PAD}", padding_side="left", **extra
    )


def shown(name: str) -> str:
    """What stands for a picture in a prompt."""
    return next((mark for part, mark in SHOWN.items() if part in name), "<image>")


def _llava(chat: str) -> Any:
    eyes = transformers.CLIPImageProcessor(size={"shortest_edge": 84}, crop_size=EDGE)
    sizes = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return transformers.LlavaProcessor(eyes, tokenizer(IMAGE), chat_template=chat, **sizes)


def _next(chat: str) -> Any:
    eyes = transformers.LlavaNextImageProcessor(
        size={"shortest_edge": 84}, crop_size=EDGE, image_grid_pinpoints=PINPOINTS
    )
    sizes = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return transformers.LlavaNextProcessor(eyes, tokenizer(IMAGE), chat_template=chat, **sizes)


def _onevision(chat: str) -> Any:
    eyes = transformers.LlavaOnevisionImageProcessor(size=EDGE, image_grid_pinpoints=PINPOINTS)
    sizes = {"num_image_tokens": 36, "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_1"}
    videos = transformers.LlavaOnevisionVideoProcessor(size=EDGE)
    return transformers.LlavaOnevisionProcessor(eyes, tokenizer(IMAGE), videos, chat_template=chat, **sizes)


def _qwen(kind: str, videos: str, patch: int) -> Callable[[str], Any]:
    def make(chat: str) -> Any:
        sizes = {"patch_size": patch, "min_pixels": 56 * 56, "max_pixels": 168 * 168}
        eyes = transformers.Qwen2VLImageProcessor(**sizes)
        seen = getattr(transformers, videos)(patch_size=patch)
        return getattr(transformers, kind)(eyes, tokenizer(QWEN), seen, chat_template=chat)

    return make


def _internvl(chat: str) -> Any:
    eyes = transformers.GotOcr2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=3)
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    own = tokenizer(INTERN, **named, video_token="<video>")
    videos = transformers.InternVLVideoProcessor()
    return transformers.InternVLProcessor(eyes, own, videos, image_seq_length=16, chat_template=chat)


MAKERS: dict[str, Callable[[str], Any]] = {
    "llava": _llava,
    "llava_next": _next,
    "onevision": _onevision,
    "qwen2": _qwen("Qwen2VLProcessor", "Qwen2VLVideoProcessor", 14),
    "qwen2_5": _qwen("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor", 14),
    "qwen3": _qwen("Qwen3VLProcessor", "Qwen3VLVideoProcessor", 14),
    "internvl": _internvl,
}


def processor(name: str) -> Any:
    """That of a tiny model."""
    return MAKERS[name](CHAT.replace("@", shown(name)))
