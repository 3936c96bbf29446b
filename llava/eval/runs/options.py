"""Command-line options that the runners share: LLaVA's own, in its spelling, and those of the methods."""

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from llava.conversation import Conversation, get_conv_template
from llava.conversation_choice import AUTO
from llava.errors import InputError, shown
from llava.eval.runs.budget import budget, in_tokens
from llava.eval.runs.command import Parser, at_least, between
from llava.eval.runs.conv_mode import Usual, own_chat, own_mode
from llava.eval.runs.preprocessing import add_preprocessing
from llava.eval.runs.presets import add_preset
from llava.eval.runs.published import SWITCHES, named_method, without_whole
from llava.mm_utils import get_model_name_from_path
from llava.model.language_model.shared_attention import SHARED_PREFIX
from llava.reduction import Geometry, Reduction, available, create, method_class
from llava.reduction.resolve import at_budget
from llava.reduction.schedule import flag_of, parse_setting

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


def add_method_options(parser: Parser) -> None:
    """One flag for every field of every method, plus the choice of method and of a budget.

    Not for a field that is marked as shared (`seed`): a command has its own flag of that name, which counts for both.
    A field whose name means something else on a command line says what its flag is called (`flag`).
    """
    group = parser.add_argument_group("reduction of image tokens")
    group.add_argument("--method", choices=available(), help="unset: the one whose flags are given, or none")
    for flag, name in SWITCHES.items():
        group.add_argument(f"--{flag}", action="store_true", help=f"--method {name}, as its published scripts say it")
    average = "average image tokens per LLM layer, or 11.1%% of a picture's own; the method's schedule, scaled"
    group.add_argument("--retain", type=budget, metavar="N", help=average)
    add_preset(group)
    for name, (owners, setting) in sorted(_settings().items()):
        if setting.metadata.get("shared"):
            continue
        kind, words = at_least() if setting.type is int else str, setting.metadata.get("choices")
        group.add_argument(f"--{name}", type=kind, choices=words, help=_help_of(name, owners))


def _help_of(name: str, owners: list[str]) -> str:
    """What a flag means, to each method that means something else by it."""
    meant: dict[str, list[str]] = {}
    for owner in owners:
        fields = method_class(owner).__dataclass_fields__.values()
        meant.setdefault(next(one.metadata["help"] for one in fields if flag_of(one) == name), []).append(owner)
    return "; ".join(f"{text} ({', '.join(those)})" for text, those in meant.items())


def _settings() -> dict[str, tuple[list[str], dataclasses.Field]]:
    """Every setting's flag with the methods that have it."""
    found: dict[str, tuple[list[str], dataclasses.Field]] = {}
    for method in available():
        for setting in dataclasses.fields(method_class(method)):
            owners, _ = found.setdefault(flag_of(setting), ([], setting))
            owners.append(method)
    return found


@dataclass(frozen=True)
class MethodChoice:
    """A method as a command line names it: complete, or a budget or preset that the model turns into settings."""

    name: str
    method: Reduction | None
    retain: int | float | None
    shared: dict[str, Any] = dataclasses.field(default_factory=dict)
    preset: str | None = None

    def build(self, geometry: Geometry) -> Reduction:
        """The method for a model; refuses what does not fit."""
        method = self.method
        if method is None:
            kind = method_class(self.name)
            if self.preset is not None:
                method = dataclasses.replace(kind.from_preset(self.preset, geometry), **self.shared)
            else:
                assert self.retain is not None
                tokens = in_tokens(self.retain, geometry)
                method = at_budget(kind.from_budget(tokens, geometry), tokens, self.shared, geometry)
        method.check(geometry)
        return method


def method_from(args: argparse.Namespace) -> MethodChoice:
    """Read the method's flags; everything that needs no model is checked here.

    Raises:
        InputError: for lists that are none, counts that make no sense, flags of another method, a budget beside flags.
    """
    given: dict[str, Any] = {}
    for name, (_, setting) in _settings().items():
        value = None if setting.metadata.get("shared") else getattr(args, name)
        if value is not None:
            given[name] = parse_setting(name, setting.type, value) if isinstance(value, str) else value
    name = named_method(args, given)
    _refuse_foreign(name, list(given))
    if name == "pyramiddrop":
        given = without_whole(given)
    flags = {flag_of(field): field for field in dataclasses.fields(method_class(name))}
    shared = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(method_class(name))
        if field.metadata.get("shared") and hasattr(args, field.name)
    }
    whole = [flag for flag in ("retain", "preset") if getattr(args, flag) is not None]
    if not whole:
        return MethodChoice(name, create(name, **{flags[flag].name: given[flag] for flag in given}, **shared), None)
    if len(whole) > 1:
        raise InputError(f"a run has one schedule: got --retain {args.retain} and --preset {args.preset}; drop one")
    beside = [flag for flag in given if flags[flag].metadata.get("beside_budget")]
    shared |= {flags[flag].name: given.pop(flag) for flag in beside}
    if given:
        raise InputError(
            f"--{whole[0]} makes the whole schedule: got it with --{next(iter(given))}; give one or the other"
        )
    if isinstance(args.retain, int) and args.retain < 1:
        raise InputError(f"--retain must be at least 1 image token per layer: got {args.retain}")
    return MethodChoice(name, None, args.retain, shared, args.preset)


def _refuse_foreign(method: str, given: list[str]) -> None:
    """Refuse settings of other methods, naming beside the first what stands for this method."""
    owners = {flag: _settings()[flag][0] for flag in given}
    foreign = next((flag for flag in given if method not in owners[flag]), None)
    if foreign is None:
        return
    own = next((flag for flag in given if method in owners[flag] and not {*owners[flag]} & {*owners[foreign]}), None)
    beside = f" (--{own})" if own is not None else ""
    raise InputError(
        f"--{foreign} belongs to {' or '.join(owners[foreign])}: got it with method {method}{beside}; leave one "
        f"out, or add --method"
    )


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
