"""The loop that all runners share: questions in, answers file out, in batches, with progress, safe to interrupt."""

import argparse
import contextlib
import os
from collections.abc import Hashable
from typing import Any

import shortuuid
from tqdm import tqdm

from llava.conversation import Conversation
from llava.errors import InputError
from llava.eval.files import skipped_because
from llava.eval.runs.answering import Answering
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.command import Parser, at_least
from llava.eval.runs.conv_mode import add_conv_mode, template_settings
from llava.eval.runs.hf_run import HfRun
from llava.eval.runs.identity import pictures_digests
from llava.eval.runs.inputs import planned_batches
from llava.eval.runs.llava_run import LlavaRun
from llava.eval.runs.method_options import add_method_options, method_from
from llava.eval.runs.options import (
    add_model_options,
    add_sampling_options,
    add_speed_options,
    device_from,
    sampling_from,
)
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.plan import first_uses, plan_apart
from llava.eval.runs.preprocessing import picture_changes
from llava.eval.runs.questions import Question, check_questions, chunk
from llava.eval.runs.reporting import show_answers, tell_what_was_skipped
from llava.eval.runs.settings import readable
from llava.eval.runs.tally import Tally, tally_of
from llava.files.reading import file_digest
from llava.hf.loading import is_host
from llava.mm_utils import get_model_name_from_path
from llava.model.checkpoint.folder import Folder


def add_runner_options(parser: Parser, questions: str, conv_mode: str = "llava_v1", max_new_tokens: int = 128) -> None:
    """LLaVA's options of an evaluation runner, and ours."""
    add_model_options(parser)
    parser.add_argument("--image-folder", default="", help="what the questions' image names are relative to")
    parser.add_argument("--question-file", default=questions, help="the questions")
    parser.add_argument("--answers-file", default="answer.jsonl", help="written, or continued where it ends")
    add_conv_mode(parser, conv_mode)
    parser.add_argument("--num-chunks", type=at_least(1), default=1, help="parts the questions are cut into")
    parser.add_argument("--chunk-idx", type=at_least(0), default=0, help="the part to run, from 0")
    add_sampling_options(parser, max_new_tokens)
    add_speed_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="start anew where an answers file is there already")
    skip = "give questions whose pictures cannot be read an empty answer, and name them at the end"
    parser.add_argument("--skip-unreadable", action="store_true", help=skip)
    show = "print so many questions with their answers at the end"
    parser.add_argument("--show", type=at_least(0), default=0, help=show)
    add_method_options(parser)


def run_questions(
    args: argparse.Namespace,
    questions: list[Question],
    conv_mode: str | Conversation,
    already_cut: bool = False,
    **own_settings: Any,
) -> None:
    """Answer questions into `args.answers_file`.

    Args:
        args: parsed `add_runner_options`.
        questions: all of them; the chunk is cut here, unless they are the chunk.
        conv_mode: a known conversation mode, or a conversation that is written otherwise.
        already_cut: `questions` are those of the chunk.
        own_settings: of the particular runner, where answers depend on them.
    """
    choice, sampling = method_from(args), sampling_from(args)
    device_from(args)
    every = questions  # chunks have one schedule, whatever falls to them
    questions = questions if already_cut else chunk(questions, args.num_chunks, args.chunk_idx)
    check_questions(questions, args.skip_unreadable)
    _check_apart(args.answers_file, args.question_file)
    road = HfRun if is_host(Folder(str(args.model_path))) else LlavaRun
    planned = road.planned(args, choice, every)
    own_settings |= {"answers": len(questions), "pictures_sha256": pictures_digests(questions)}
    settings = _settings(args, conv_mode) | planned.identity | own_settings
    with AnswersFile(args.answers_file, settings, args.overwrite) as file:
        answers = OrderedAnswers(file, questions)
        if answers.done < len(questions):
            _answer_and_count(args, *planned.start(questions, conv_mode, sampling), answers, file)
        records = file.finish()
        skipped = [
            {"question_id": record["question_id"], "why": why} for record in records if (why := skipped_because(record))
        ]
        file.note(skipped=skipped or None)
        counted = tally_of(file.settings)
    show_answers(records, args.show)
    tell_what_was_skipped(args.answers_file, skipped)
    if counted is not None:
        print(counted.said)
    before = f", {len(file.done)} of them from before" if file.done else ""
    print(f"{len(records)} answers in {args.answers_file}{before}")


def _check_apart(answers_file: str, question_file: str) -> None:
    """Refuse to write answers where the questions are."""
    if os.path.exists(answers_file) and os.path.samefile(answers_file, question_file):
        raise InputError(f"answers go to a file of their own: '{answers_file}' is the question file; name another one")


def _settings(args: argparse.Namespace, conv_mode: str | Conversation) -> dict[str, Any]:
    """What was typed that answers depend on; batch size and device are not in it, so a run may continue elsewhere."""
    names = ["model_path", "model_base", "image_folder", "question_file", "num_chunks", "chunk_idx", "temperature"]
    names += ["top_p", "num_beams", "max_new_tokens", "seed", "dtype", "load_8bit", "load_4bit"]
    chosen = {name: getattr(args, name) for name in names} | picture_changes(args)
    digest = file_digest(args.question_file, "a question file")
    return chosen | {"question_file_sha256": digest, **template_settings(conv_mode)}


def _answer_and_count(
    args: argparse.Namespace, answering: Answering, kept: int, answers: OrderedAnswers, file: AnswersFile
) -> None:
    """Answer what is left; what was counted on the way is noted, also where the run is stopped."""
    earlier, before = set(answers.known), tally_of(file.settings) or Tally()
    if before.questions > len(earlier):  # somebody has cut the file: what was counted is no longer what it holds
        before = Tally()

    def note() -> None:
        new = answers.known - earlier
        counted = [tokens for number, tokens in answering.counted.items() if number in new]
        file.note(**before.plus(counted).notes)

    try:
        answer_left(args, answering, kept, answers)
    except BaseException:
        with contextlib.suppress(InputError):  # the first complaint is the one to be heard
            note()
        raise
    note()


def answer_left(args: argparse.Namespace, answering: Answering, kept: int, answers: OrderedAnswers) -> None:
    """Answer what is left, in the batches of an uninterrupted run, so that a continued one ends with the same text."""
    model, data = answering.model, answering.data
    workers = args.num_workers if args.num_workers is not None else (0 if model.device.type == "cpu" else 4)
    workers = min(workers, os.cpu_count() or 1)
    kinds = [repr(answering.methods.get(data.modality(number))) for number in range(len(data))]
    whole = plan_apart(answering.keys, answering.limit, kinds, answering.alone)
    plan = [batch for batch in whole if not answers.known.issuperset(batch)]
    marked = first_uses(plan, answering.keys, kept)
    model_id = readable(get_model_name_from_path(args.model_path))
    unreadable: dict[Hashable, InputError] = {}
    with tqdm(total=len(data), initial=answers.done, unit="question", smoothing=0.05) as progress:
        for batch, items in zip(plan, planned_batches(data, marked, workers, model.device.type == "cuda")):
            unreadable |= {answering.keys[n]: item for n, item in zip(batch, items) if isinstance(item, InputError)}
            asked = [(n, item) for n, item in zip(batch, items) if answering.keys[n] not in unreadable]
            for texts in answering.answer([n for n, _ in asked], [item for _, item in asked]):
                answers.add({n: _record(data.questions[n], text, model_id) for n, text in texts.items()})
                progress.update(answers.done - progress.n)
            left = {n: unreadable[answering.keys[n]] for n in batch if answering.keys[n] in unreadable}
            if not args.skip_unreadable and not answers.known.issuperset(left):
                raise InputError(f"{next(iter(left.values()))}; or go on without it: --skip-unreadable")
            answers.add({n: _record(data.questions[n], "", model_id, str(error)) for n, error in left.items()})
            progress.update(answers.done - progress.n)


def _record(question: Question, text: str, model_id: str, skipped: str | None = None) -> dict[str, Any]:
    """One line of an answers file; the order of the keys is LLaVA's. `skipped`: why the question was not asked."""
    metadata = {} if skipped is None else {"skipped": skipped}
    end = {"answer_id": shortuuid.uuid(), "model_id": model_id, "metadata": metadata}
    return question.head | {"text": text} | question.tail | end
