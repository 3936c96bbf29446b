"""The loop that all runners share: questions in, answers file out, in batches, with progress, safe to interrupt."""

import argparse
import os
from typing import Any

import shortuuid
from tqdm import tqdm

from llava.errors import InputError
from llava.eval.runs.answering import Answering
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.command import Parser
from llava.eval.runs.inputs import PreparedQuestions, planned_batches
from llava.eval.runs.loading import Loaded, load_model
from llava.eval.runs.memory import cache_bytes, free_bytes, rows_that_fit
from llava.eval.runs.options import (
    add_method_options,
    add_model_options,
    add_sampling_options,
    add_speed_options,
    batch_size_from,
    device_from,
    method_from,
    sampling_from,
)
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.plan import first_uses, image_key, plan_batches
from llava.eval.runs.questions import Question, check_images_exist, chunk, render
from llava.eval.runs.reporting import schedule_report, show_answers
from llava.files.reading import file_digest
from llava.mm_utils import get_model_name_from_path, tokenizer_image_token
from llava.model.builder import model_geometry, prepare_tower
from llava.model.checkpoint import read_config
from llava.model.generation.prefix_store import PrefixStore
from llava.model.generation.static_decoder import StaticDecoder
from llava.reduction import Reduction, name_of
from llava.reduction.schedule import average_tokens


def add_runner_options(parser: Parser, questions: str, conv_mode: str = "llava_v1", max_new_tokens: int = 128) -> None:
    """LLaVA's options of an evaluation runner, and ours."""
    add_model_options(parser)
    parser.add_argument("--image-folder", default="", help="what the questions' image names are relative to")
    parser.add_argument("--question-file", default=questions, help="the questions")
    parser.add_argument("--answers-file", default="answer.jsonl", help="written, or continued where it ends")
    parser.add_argument("--conv-mode", default=conv_mode, help="conversation template; vicuna_v1 for LLaVA-1.5")
    parser.add_argument("--num-chunks", type=int, default=1, help="parts the questions are cut into")
    parser.add_argument("--chunk-idx", type=int, default=0, help="the part to run, from 0")
    add_sampling_options(parser, max_new_tokens)
    add_speed_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="start anew where an answers file is there already")
    parser.add_argument("--show", type=int, default=0, help="print so many questions with their answers at the end")
    add_method_options(parser)


def run_questions(
    args: argparse.Namespace, questions: list[Question], conv_mode: str, already_cut: bool = False, **own_settings: Any
) -> None:
    """Answer questions into `args.answers_file`.

    Args:
        args: parsed `add_runner_options`.
        questions: all of them; the chunk is cut here, unless they are the chunk.
        conv_mode: a known conversation mode.
        already_cut: `questions` are those of the chunk.
        own_settings: of the particular runner, where answers depend on them.
    """
    choice, sampling = method_from(args), sampling_from(args)
    device_from(args)
    batch_size_from(args)
    questions = questions if already_cut else chunk(questions, args.num_chunks, args.chunk_idx)
    check_images_exist(questions)
    config = read_config(args.model_path)
    prepare_tower(config, args.model_path)
    geometry = model_geometry(config)
    method = choice.build(geometry)
    own_settings |= {"answers": len(questions), "average_tokens": average_tokens(method, geometry)}

    with AnswersFile(args.answers_file, _settings(args, conv_mode, method) | own_settings, args.overwrite) as file:
        answers = OrderedAnswers(file, questions)
        if answers.done < len(questions):
            loaded = load_model(args, method)
            data = loaded.prepare(questions, conv_mode)
            print(schedule_report(method, loaded.model, data), flush=True)
            _answer(args, *_answering(args, loaded, data, sampling, method), answers)
    show_answers(args.answers_file, args.show)
    before = f", {len(file.done)} of them from before" if file.done else ""
    print(f"{len(questions)} answers in {args.answers_file}{before}")


def _settings(args: argparse.Namespace, conv_mode: str, method: Reduction) -> dict[str, Any]:
    """What the answers depend on; batch size and device are not in it, so a run may continue on another machine."""
    names = ["model_path", "model_base", "image_folder", "question_file", "num_chunks", "chunk_idx", "temperature"]
    names += ["top_p", "num_beams", "max_new_tokens", "seed", "dtype", "load_8bit", "load_4bit"]
    chosen = {name: getattr(args, name) for name in names}
    return chosen | {
        "question_file_sha256": file_digest(args.question_file),
        "conv_mode": conv_mode,
        "method": name_of(method),
        "settings": vars(method),
    }


def _answering(
    args: argparse.Namespace, loaded: Loaded, data: PreparedQuestions, sampling: dict[str, Any], method: Reduction
) -> tuple[Answering, int]:
    """What answers this run's batches, and how many image prefixes it will be able to keep."""
    model = loaded.model
    longest = max(data.questions, key=lambda question: len(question.message))
    prompt = render(longest.message, False, data.conv_mode, False)
    text_tokens = len(tokenizer_image_token(prompt, data.tokenizer)) + 4  # image tokens may have marks around them
    free = free_bytes(model.device)
    limit = args.prefix_memory * 2**20 if args.prefix_memory is not None else free // 4
    size = batch_size_from(args)
    if size is None:
        new, beams = sampling["max_new_tokens"], sampling["num_beams"]
        size = rows_that_fit(model, method, text_tokens, new, beams, free - limit)
    keys = [image_key(question) for question in data.questions]
    generation = sampling | {"pad_token_id": loaded.padding, "use_cache": True}
    seed = args.seed if sampling["do_sample"] else None
    decoder = StaticDecoder(model) if args.compile else None
    answering = Answering(model, data, keys, generation, seed, PrefixStore(limit), size, decoder)
    return answering, limit // max(1, cache_bytes(model, method, model.geometry, text_tokens))


def _answer(args: argparse.Namespace, answering: Answering, kept: int, answers: OrderedAnswers) -> None:
    """Answer what is left, in the batches of an uninterrupted run, so that a continued one ends with the same text."""
    model, data = answering.model, answering.data
    workers = args.num_workers if args.num_workers is not None else (0 if model.device.type == "cpu" else 4)
    workers = min(workers, os.cpu_count() or 1)
    whole = plan_batches(answering.keys, answering.limit)
    plan = [batch for batch in whole if not answers.known.issuperset(batch)]
    marked = first_uses(plan, answering.keys, kept)
    model_id = get_model_name_from_path(args.model_path)
    with tqdm(total=len(data), initial=answers.done, unit="question", smoothing=0.05) as progress:
        for batch, items in zip(plan, planned_batches(data, marked, workers, model.device.type == "cuda")):
            unread = {answering.keys[n]: item for n, item in zip(batch, items) if isinstance(item, InputError)}
            asked = [(n, item) for n, item in zip(batch, items) if answering.keys[n] not in unread]
            for texts in answering.answer([n for n, _ in asked], [item for _, item in asked]):
                answers.add({n: _record(data.questions[n], text, model_id) for n, text in texts.items()})
                progress.update(answers.done - progress.n)
            for error in unread.values():
                raise error


def _record(question: Question, text: str, model_id: str) -> dict[str, Any]:
    """One line of an answers file; the order of the keys is LLaVA's."""
    end = {"answer_id": shortuuid.uuid(), "model_id": model_id, "metadata": {}}
    return question.head | {"text": text} | question.tail | end
