"""What a run needs of a LLaVA: its schedules before weights are read, and then what answers its questions."""

import argparse
from dataclasses import dataclass
from typing import Any

from llava.conversation import Conversation
from llava.eval.runs.answering import Answering
from llava.eval.runs.identity import checkpoint_digest
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.loading import Loaded, load_model
from llava.eval.runs.memory import cache_bytes, free_bytes, rows_of_one_picture, rows_that_fit
from llava.eval.runs.method_options import MethodChoice
from llava.eval.runs.one_picture import reads_in_place
from llava.eval.runs.options import batch_size_from
from llava.eval.runs.plan import image_key
from llava.eval.runs.questions import Question, render
from llava.eval.runs.reporting import schedule_report
from llava.eval.runs.schedules import Schedule, schedules_of
from llava.eval.runs.video_options import change_config
from llava.mm_utils import tokenizer_image_token
from llava.model.builder import prepare_tower
from llava.model.checkpoint import read_config
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.static_decoder import StaticDecoder
from llava.reduction import name_of
from llava.reduction.positions import written_settings


@dataclass(frozen=True)
class LlavaRun:
    """A run of a LLaVA, in whichever layout its checkpoint is.

    Attributes:
        tower: where its vision tower lies; None: inside.
    """

    args: argparse.Namespace
    schedules: list[Schedule]
    tower: str | None

    @classmethod
    def planned(cls, args: argparse.Namespace, choice: MethodChoice, questions: list[Question]) -> "LlavaRun":
        """The run for the questions of all chunks, which have one schedule, whatever falls to them.

        Raises:
            InputError: for a checkpoint that cannot be read, or a method that does not fit it.
        """
        config = read_config(args.model_path)
        change_config(config, args)
        tower = prepare_tower(config, args.model_path, args.model_base).name
        return cls(args, schedules_of(choice, config, questions), tower)

    @property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on, besides what was typed."""
        base = self.args.model_base
        method = self.schedules[0].method
        others = {f"{one.modality}_settings": written_settings(one.method) for one in self.schedules[1:]}
        return {
            "checkpoint_sha256": checkpoint_digest(self.args.model_path, self.tower),
            "base_sha256": checkpoint_digest(base) if base is not None else None,
            "method": name_of(method),
            "settings": written_settings(method),
        } | others

    def start(
        self, questions: list[Question], conv_mode: str | Conversation, sampling: dict[str, Any]
    ) -> tuple[Answering, int]:
        """What answers this run's batches, and how many image prefixes it can keep; says what was loaded."""
        loaded = load_model(self.args, self.schedules[0].method, self.schedules[0].geometry.frames)
        data = loaded.prepare(questions, conv_mode)
        for one in self.schedules:
            geometry = one.geometry if one.geometry.frames else None
            print(schedule_report(one.method, loaded.model, data, geometry), flush=True)
        print(loaded.about(self.args), flush=True)
        return self.answering(loaded, data, sampling)

    def answering(self, loaded: Loaded, data: PreparedQuestions, sampling: dict[str, Any]) -> tuple[Answering, int]:
        """What answers questions with a model that is loaded, and how many image prefixes it can keep."""
        args, model, schedules = self.args, loaded.model, self.schedules
        longest = max(data.questions, key=lambda question: len(question.message))
        prompt = render(longest.message, False, data.conv_mode, False)
        text_tokens = len(tokenizer_image_token(prompt, data.tokenizer)) + 4  # image tokens may have marks around them
        free = free_bytes(model.device, args.device_share)
        limit = args.prefix_memory * 2**20 if args.prefix_memory is not None else free // 4
        generation = sampling | {"pad_token_id": loaded.padding, "use_cache": True}
        in_place = reads_in_place(model, schedules, generation, text_tokens, bool(args.compile))
        size = alone = batch_size_from(args)
        if size is None:
            new, beams = sampling["max_new_tokens"], sampling["num_beams"]
            asked = [(model, s.method, s.geometry, text_tokens, new) for s in schedules]
            size = min(rows_that_fit(*one, beams, free - limit) for one in asked)
            alone = max(size, min(rows_of_one_picture(*one, free - limit) for one in asked))
        keys = [image_key(question) for question in data.questions]
        seed = args.seed if sampling["do_sample"] else None
        decoder = StaticDecoder(model) if args.compile else None
        stops = loaded.stops(data.conv_mode)
        methods = {one.modality: one.method for one in schedules}
        answering = Answering(
            model, data, keys, generation, stops, seed, PrefixStore(limit), size, decoder, methods,
            alone=alone if in_place else None,
        )  # fmt: skip
        return answering, limit // max(1, *(cache_bytes(model, s.method, s.geometry, text_tokens) for s in schedules))
