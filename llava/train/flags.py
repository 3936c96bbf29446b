"""The command line of training: LLaVA's flags, old spellings of transformers' own, and those of the methods."""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from transformers import HfArgumentParser

from llava.errors import InputError, one_line, shown
from llava.eval.runs.command import Parser
from llava.eval.runs.options import MethodChoice, add_method_options, method_from
from llava.model.checkpoint.config import read_raw_config
from llava.model.checkpoint.folder import Folder
from llava.reduction import method_class
from llava.train.arguments import DataArguments, ModelArguments, TrainingArguments, check_arguments
from llava.train.checks import check_numbers, check_supported
from llava.train.output import check_output
from llava.train.partners import check_partners
from llava.train.saving import mode_of
from llava.train.sharding import check_deepspeed, check_fsdp
from llava.train.wording import in_flags

CHECKPOINTING = ("gradient_checkpointing", "gradient_checkpointing_kwargs")
# What transformers 4 called them, and what became of flags that are gone.
RENAMED = {"evaluation_strategy": "eval_strategy", "warmup_ratio": "warmup_steps", "no_cuda": "use_cpu"}
# Newer transformers warn of their own older name, which all recipes have.
if "activation_checkpointing" in {field.name for field in dataclasses.fields(TrainingArguments)}:
    RENAMED |= {name: name.replace("gradient", "activation") for name in CHECKPOINTING}
# What a LLaVA's config.json says of pictures and its tokens.
OWN = (
    *("mm_vision_select_layer", "mm_vision_select_feature", "mm_patch_merge_type", "mm_projector_type"),
    *("mm_use_im_start_end", "mm_use_im_patch_token", "image_aspect_ratio", "image_grid_pinpoints"),
)
GONE = ("save_safetensors", "past_index", "overwrite_output_dir", "logging_dir")


@dataclass(frozen=True)
class Arguments:
    """Everything that a command line of training says."""

    model: ModelArguments
    data: DataArguments
    training: TrainingArguments
    method: MethodChoice


class _HfParser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as all commands here."""
        raise InputError(f"{message.removesuffix('.')}; --help lists the options")


def parse(argv: Sequence[str]) -> Arguments:
    """Read a command line.

    Raises:
        InputError: for flags that are unknown or make no sense, before anything is loaded.
    """
    methods = Parser(add_help=False)
    add_method_options(methods)
    known = _HfParser((ModelArguments, DataArguments, TrainingArguments), allow_abbrev=False)
    if any(word in ("-h", "--help") for word in argv):
        methods.print_help()
    chosen, rest = methods.parse_known_args(argv)
    choice = method_from(argparse.Namespace(**vars(chosen)))
    rest, kind = modern(rest), method_class(choice.name)
    check_deepspeed(rest, kind)
    try:
        model, data, training, left = known.parse_args_into_dataclasses(rest, return_remaining_strings=True)
    except (ValueError, TypeError, ImportError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"training's flags must fit together: {one_line(error)}") from error
    if left:
        raise InputError(f"unknown flag of training: got {shown(left[0])}; --help lists the options")
    check_arguments(model, data, training)
    check_output(training.output_dir, mode_of(model, training), model.model_name_or_path, model.vision_tower)
    check_numbers(training)
    check_supported(training, model.vision_tower is not None)
    check_fsdp(training, kind)
    if choice.name != "none" and model.vision_tower is None:
        raise InputError(f"--method {choice.name} reduces image tokens: got no --vision_tower; give one")
    said = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in rest if word.startswith("--")}
    with in_flags():
        _keep_own(model, data, said)
    check_partners(said, model, data, training)
    return Arguments(model, data, training, choice)


def _keep_own(model: ModelArguments, data: DataArguments, said: set[str]) -> None:
    """A LLaVA that goes on keeps its ways with pictures where a flag does not say otherwise.

    LLaVA puts the flags' defaults in their place: a LLaVA-NeXT trained on without its flags would lose its tiles.
    """
    raw = read_raw_config(Folder(str(model.model_name_or_path)))
    if "mm_vision_tower" not in raw:
        return
    for arguments in (model, data):
        for name in (name for name in vars(arguments) if name in OWN and name not in said and name in raw):
            setattr(arguments, name, raw[name])


def modern(words: Sequence[str]) -> list[str]:
    """A command line written for transformers 4, in the spelling of transformers 5; others as they are."""
    made: list[str] = []
    at = 0
    while at < len(words):
        flag, equals, value = words[at].partition("=")
        name = flag.removeprefix("--").replace("-", "_") if flag.startswith("--") else None
        at += 1
        follows = not equals and at < len(words) and not words[at].startswith("--")
        if name == "local_rank" or name in GONE:
            at += follows
        elif name == "group_by_length":
            if not follows or words[at].lower() in ("true", "1", "yes"):
                made += ["--train_sampling_strategy", "group_by_length"]
            at += follows
        elif name in RENAMED:
            given = value if equals else words[at] if follows else None
            if name == "warmup_ratio" and given is not None and not _is_share(given):
                raise InputError(f"--warmup_ratio must be a share of the steps, from 0 to below 1: got {shown(given)}")
            made += [f"--{RENAMED[name]}", *([given] if given is not None else [])]
            at += follows
        else:
            made.append(words[at - 1])
    return made


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) < 1
    except ValueError:
        return False
