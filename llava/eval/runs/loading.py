"""A model and everything that its questions need, loaded as the options of a command say."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from llava.conversation import Conversation, get_conv_template
from llava.conversation_choice import AUTO
from llava.errors import InputError
from llava.eval.runs.conv_mode import warn_of_another
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.options import DTYPES, device_from
from llava.eval.runs.preprocessing import tell_difference
from llava.eval.runs.questions import Question
from llava.eval.runs.video_options import config_changes
from llava.mm_utils import get_model_name_from_path
from llava.model.builder import load_pretrained_model
from llava.model.checkpoint import read_config
from llava.model.description import describe, tower_place
from llava.model.generation.stops import Stops, stops_of
from llava.model.language_model.llava_causal_lm import LlavaCausalLM
from llava.reduction import Geometry, Reduction

# The small model that ships with the repository, for commands that are told of no other.
TRAINED = "playground/shapes/llava-shapes"


@dataclass(frozen=True)
class Loaded:
    """What `load_pretrained_model` returns, and the end of a row that ends early."""

    tokenizer: Any
    model: LlavaCausalLM
    processor: Any

    @property
    def padding(self) -> int:
        """The id transformers fills up with: the end token where a checkpoint names no padding."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else self.tokenizer.eos_token_id

    def about(self, args: argparse.Namespace, method: Reduction | None = None, geometry: Geometry | None = None) -> str:
        """One line for a person who loaded it with these options; see `describe`."""
        return describe(self.model, method, tower_place(args.model_path, args.model_base), geometry)

    def stops(self, conv_mode: str | Conversation) -> Stops:
        """Where answers under a conversation template end."""
        return stops_of(get_conv_template(conv_mode).end_mark, self.tokenizer, self.model.generation_config)

    def prepare(self, questions: list[Question], conv_mode: str | Conversation) -> PreparedQuestions:
        """The questions as inputs of this model."""
        return PreparedQuestions(questions, self.tokenizer, self.processor, self.model.config, conv_mode)


def check_trained(model_path: str) -> None:
    """Refuse the default model where it is not there, saying where it is."""
    if model_path == TRAINED and not Path(TRAINED).is_dir():
        raise InputError(
            f"without --model-path the model is the repository's own: '{TRAINED}' is not in '{Path.cwd()}'; run this "
            f"in the repository's root, or name a checkpoint"
        )


def load_model(args: argparse.Namespace, reduction: Reduction | None = None, frames: int = 0) -> Loaded:
    """The model that `add_model_options` describe, with this method; None: without reduction.

    Where `--conv-mode` names a template that the checkpoint cannot know, that is said on stderr.

    Args:
        frames: the method is made for videos of so many frames; 0: for pictures.

    Raises:
        InputError: as `load_pretrained_model`, and for a device that is not there.
    """
    transformers_logging.disable_progress_bar()
    read_config(args.model_path)  # a model of transformers' own is none that is used here
    tokenizer, model, processor, _ = load_pretrained_model(
        args.model_path,
        args.model_base,
        get_model_name_from_path(args.model_path),
        args.load_8bit,
        args.load_4bit,
        device=device_from(args),
        reduction=None if frames else reduction,
        torch_dtype=DTYPES[args.dtype],
        attn_implementation=args.attn_implementation,
        overwrite_config=config_changes(args),
    )
    if frames:
        model.set_reduction(reduction, frames)
    tell_difference(args)
    if isinstance(getattr(args, "conv_mode", None), str) and args.conv_mode != AUTO:
        warn_of_another(args.conv_mode, args.model_path, args.model_base, tokenizer)
    return Loaded(tokenizer, model, processor)
