"""What a run needs of transformers' own models (Qwen-VL, InternVL): the same questions, files and batches."""

import argparse
from dataclasses import dataclass
from typing import Any

import torch
import transformers

import llava.hf
from llava.conversation import Conversation, get_conv_template
from llava.errors import InputError
from llava.eval.runs.answering import Answering
from llava.eval.runs.hf_answering import HfAnswering, HfQuestions
from llava.eval.runs.hf_memory import largest_picture, prefix_bytes, rows_that_fit
from llava.eval.runs.identity import checkpoint_digest
from llava.eval.runs.memory import free_bytes
from llava.eval.runs.method_options import MethodChoice
from llava.eval.runs.options import DTYPES, batch_size_from, device_from
from llava.eval.runs.plan import image_key
from llava.eval.runs.preprocessing import CHECKPOINT
from llava.eval.runs.questions import FileVideo, Question, render
from llava.files.reading import reason
from llava.hf.description import describe_host
from llava.hf.loading import load_host
from llava.hf.loading_config import host_config, host_of
from llava.hf.presets import published
from llava.model.checkpoint.config import DOES_NOT_FIT, WHAT, read_stored_config
from llava.model.checkpoint.folder import Folder
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.stops import stops_of
from llava.reduction.positions import written_settings

# Options of LLaVA's models that these do not have.
REFUSED = {"compile": "--compile", "model_base": "--model-base", "mm_newline_position": "--mm-newline-position"}


def reduced_as(model: Any, choice: MethodChoice) -> Any:
    """A model of transformers' under a command line's method.

    Raises:
        InputError: for a method or a budget that does not fit it.
    """
    if choice.method is not None:
        return llava.hf.reduce(model, choice.method)
    preset = {} if choice.preset is None else {"preset": choice.preset}
    return llava.hf.reduce(model, choice.name, retain=choice.retain, **preset, **choice.shared)


def settings_of(choice: MethodChoice) -> dict[str, Any]:
    """What a command line's method is set to, as it is written down: its own settings, or a budget."""
    if choice.method is not None:
        return written_settings(choice.method)
    if choice.preset is not None:
        return published(choice.preset, choice.name, "a model of transformers' own") | choice.shared
    return {"retain": choice.retain} | choice.shared


def check_host(args: argparse.Namespace, choice: MethodChoice) -> None:
    """Refuse what such a model does not take, before weights are read.

    Raises:
        InputError: for a checkpoint that cannot be read, options that it does not have, or a method that does not fit.
    """
    for name, flag in REFUSED.items():
        if getattr(args, name, None) not in (None, False):
            raise InputError(f"{flag} is LLaVA's: got it for '{args.model_path}', a model of transformers' own")
    if getattr(args, "preprocessing", CHECKPOINT) != CHECKPOINT:
        raise InputError(
            f"--preprocessing {args.preprocessing} is for LLaVA in transformers' layout: got it for "
            f"'{args.model_path}', which has its own way alone; leave the option out"
        )
    folder = Folder(str(args.model_path))
    raw = read_stored_config(folder)
    host = host_of(raw)
    assert host is not None, "the caller has looked"
    config = host_config(raw, host, folder)
    try:
        with torch.device("meta"):
            empty = getattr(transformers, host.model)(config)
    except DOES_NOT_FIT as error:
        raise InputError(f"{WHAT} must fit: '{folder.path}' makes no model ({reason(error)})") from error
    reduced_as(empty, choice)


def loaded_as(args: argparse.Namespace, choice: MethodChoice) -> tuple[Any, Any, Any]:
    """Tokenizer, model under the method, and processor of `add_model_options`."""
    places = {"device": device_from(args), "load_8bit": args.load_8bit, "load_4bit": args.load_4bit}
    places |= {"dtype": DTYPES[args.dtype], "attn_implementation": args.attn_implementation}
    tokenizer, model, processor, _ = load_host(Folder(str(args.model_path)), **places)
    return tokenizer, reduced_as(model, choice), processor


@dataclass(frozen=True)
class HfRun:
    """A run of a model of transformers' own."""

    args: argparse.Namespace
    choice: MethodChoice

    @classmethod
    def planned(cls, args: argparse.Namespace, choice: MethodChoice, questions: list[Question]) -> "HfRun":
        """The run for these questions; no weight is read.

        Raises:
            InputError: for a checkpoint that cannot be read, a method that does not fit it, or videos.
        """
        check_host(args, choice)
        video = next((question for question in questions if isinstance(question.image, FileVideo)), None)
        if video is not None:
            raise InputError(
                f"a model of transformers' own is asked about pictures: {video.where} is about a video; use a "
                f"LLaVA-NeXT or OneVision checkpoint for videos"
            )
        return cls(args, choice)

    @property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on, besides what was typed."""
        return {
            "checkpoint_sha256": checkpoint_digest(self.args.model_path),
            "base_sha256": None,
            "method": self.choice.name,
            "settings": settings_of(self.choice),
        }

    def start(
        self, questions: list[Question], conv_mode: str | Conversation, sampling: dict[str, Any]
    ) -> tuple[Answering, int]:
        """What answers this run's batches, and how many image prefixes it can keep; says what was loaded."""
        args = self.args
        tokenizer, model, processor = loaded_as(args, self.choice)
        print(describe_host(model, processor, self.choice.name, settings_of(self.choice)), flush=True)
        data = HfQuestions(questions, tokenizer, processor, model.config, conv_mode)
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        generation = sampling | {"pad_token_id": padding, "use_cache": True}
        seed = args.seed if sampling["do_sample"] else None
        stops = stops_of(get_conv_template(conv_mode).end_mark, tokenizer, model.generation_config)
        keys = [image_key(question) for question in questions]
        free = free_bytes(model.device, args.device_share)
        limit = args.prefix_memory * 2**20 if args.prefix_memory is not None else free // 4
        longest = max(questions, key=lambda question: len(question.message))
        text = len(processor.compact(render(longest.message, False, conv_mode, False), 0))
        seen, size = largest_picture(data), batch_size_from(args)
        if size is None:
            new, beams = sampling["max_new_tokens"], sampling["num_beams"]
            size = rows_that_fit(model, seen, text, new, beams, free - limit)
        answering = HfAnswering(model, data, keys, generation, stops, seed, PrefixStore(limit), size)
        return answering, limit // max(1, prefix_bytes(model, seen, text))
