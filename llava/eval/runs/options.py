"""Command-line options that the runners share: LLaVA's own, in its spelling."""

import argparse
from typing import Any

import torch

from llava.conversation import Conversation, get_conv_template
from llava.conversation_choice import AUTO
from llava.errors import InputError, shown
from llava.eval.runs.command import Parser, at_least, between
from llava.eval.runs.conv_mode import Usual, own_chat, own_mode
from llava.eval.runs.preprocessing import add_preprocessing
from llava.mm_utils import get_model_name_from_path
from llava.model.language_model.shared_attention import SHARED_PREFIX

DTYPES = {"auto": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ATTENTION = ("sdpa", "flash_attention_2", "eager", SHARED_PREFIX)
KERNELS = "attention kernels; shared_prefix: sdpa, but questions about one picture hold its prefix once"
# Counts that a device could hold, and seeds to which the number of a question can be added.
MOST_NEW_TOKENS, MOST_BEAMS, MOST_ROWS, MOST_SEED = 2**20, 2**10, 2**20, 2**62
MOST_WORKERS = 256
# Dividing by less than this overflows 32 bits; beyond the other end all words are as likely.
COOLEST, HOTTEST = 1e-8, 1e8


def add_model_options(parser: Parser) -> None:
    """Which model, on what."""
    parser.add_argument("--model-path", default="facebook/opt-350m", help="LLaVA checkpoint: a folder or a hub id")
    parser.add_argument("--model-base", help="language model under a LoRA or projector-only checkpoint")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"), help="where to compute")
    parser.add_argument("--dtype", default="auto", choices=tuple(DTYPES), help="auto: float16, or float32 on a CPU")
    parser.add_argument("--attn-implementation", default="sdpa", choices=ATTENTION, help=KERNELS)
    add_preprocessing(parser)
    parser.add_argument("--load-8bit", action="store_true", help="quantise with bitsandbytes; on a CPU take bfloat16")
    parser.add_argument("--load-4bit", action="store_true", help="quantise with bitsandbytes")


def add_sampling_options(parser: Parser, max_new_tokens: int) -> None:
    """How answers are decoded. LLaVA's defaults; all its benchmark scripts pass --temperature 0."""
    parser.add_argument("--temperature", type=between(0, HOTTEST), default=0.2, help="0 decodes greedily")
    parser.add_argument("--top_p", type=between(0, 1), help="nucleus sampling")
    parser.add_argument("--num_beams", type=at_least(1, MOST_BEAMS), default=1, help="beam search")
    length = at_least(1, MOST_NEW_TOKENS)
    parser.add_argument("--max_new_tokens", type=length, default=max_new_tokens, help="length limit of an answer")
    parser.add_argument(
        "--seed",
        type=at_least(-MOST_SEED, MOST_SEED),
        default=0,
        help="of sampling (each batch starts from it and its number) and of the method random",
    )


def add_speed_options(parser: Parser) -> None:
    """How questions are put together; greedy answers do not depend on it."""
    batch = "questions answered together, or auto: as many as fit; draws of sampling depend on it"
    parser.add_argument("--batch-size", type=_batch_size, default="1", metavar="N", help=batch)
    readers = "processes that read images; unset: 4, or none on a CPU"
    parser.add_argument("--num-workers", type=at_least(0, MOST_WORKERS), help=readers)
    store = "MiB of the device for images' shared work; unset: a quarter of what is free"
    parser.add_argument("--prefix-memory", type=at_least(0), metavar="MIB", help=store)
    share = "runs that use this device's memory together; each takes its part of what is free"
    parser.add_argument("--device-share", type=at_least(1, MOST_WORKERS), default=1, metavar="N", help=share)
    parser.add_argument("--compile", action="store_true", help="decode by a CUDA graph, or compiled on a CPU (greedy)")


def batch_size_from(args: argparse.Namespace) -> int | None:
    """Questions answered together; None: as many as fit."""
    return None if args.batch_size == "auto" else int(args.batch_size)


def _batch_size(text: str) -> str | int:
    """An argparse type: a whole number of questions, or `auto`."""
    return text if text == "auto" else at_least(1, MOST_ROWS)(text)


def device_from(args: argparse.Namespace) -> str:
    """`auto` becomes what there is."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if args.device == "auto":
        return next(name for name, here in present.items() if here)
    if not present[args.device]:
        raise InputError(f"--device must be there: got '{args.device}', which torch does not find; use auto or cpu")
    return args.device


def dtype_from(args: argparse.Namespace, device: str) -> torch.dtype:
    """What `--dtype` names: float16 by itself, or float32 on a CPU."""
    return DTYPES[args.dtype] or (torch.float32 if device == "cpu" else torch.float16)


def sampling_from(args: argparse.Namespace) -> dict[str, Any]:
    """Generation arguments; what greedy decoding does not use is unset, whatever the checkpoint's own defaults."""
    for name, most in (("max_new_tokens", MOST_NEW_TOKENS), ("num_beams", MOST_BEAMS)):
        value = getattr(args, name)
        if not 1 <= value <= most:
            raise InputError(f"--{name} must be at least 1 and at most {most}: got {shown(value)}")
    if args.temperature != 0 and not COOLEST <= args.temperature <= HOTTEST:
        raise InputError(
            f"--temperature must be 0, which decodes greedily, or from {COOLEST:g} to {HOTTEST:g}: got "
            f"{args.temperature}"
        )
    if args.top_p is not None and not 0 < args.top_p <= 1:
        raise InputError(f"--top_p must be above 0 and at most 1: got {args.top_p}")
    sampled = args.temperature > 0
    chosen = {"temperature": args.temperature, "top_p": args.top_p}
    unset = {"temperature": None, "top_p": None, "top_k": None}
    lengths = {"num_beams": args.num_beams, "max_new_tokens": args.max_new_tokens, "max_length": None}
    return {"do_sample": sampled} | (chosen if sampled else unset) | lengths


def conversation_from(args: argparse.Namespace, tag_plain_models: bool = False) -> str | Conversation:
    """The conversation mode, known to exist; `auto` is the checkpoint's own.

    Where none is named, or `auto`, that of a checkpoint in transformers' layout is its chat template.

    With `tag_plain_models` (LLaVA's loader and MMBench runners), the mode of a `plain` model that was not fine-tuned
    gets `_mmtag` appended.

    Raises:
        InputError: there is no such template, or `auto` leaves several.
    """
    name, mode = get_model_name_from_path(args.model_path), args.conv_mode
    chat = own_chat(args.model_path) if mode == AUTO or isinstance(mode, Usual) else None
    if chat is not None:
        return chat
    if mode == AUTO:
        return own_mode(args.model_path, getattr(args, "model_base", None))
    if tag_plain_models and "plain" in name and "finetune" not in name.lower() and "mmtag" not in mode:
        mode += "_mmtag"
    get_conv_template(mode)
    return mode
