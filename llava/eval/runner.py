"""The loop that all runners share: questions in, answers file out, in batches, with progress, safe to interrupt."""

import argparse
import os
from typing import Any

import shortuuid
import torch
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

from llava.errors import InputError
from llava.eval.answers import AnswersFile
from llava.eval.command import Parser
from llava.eval.files import file_digest
from llava.eval.inputs import PreparedQuestions, batches, collate
from llava.eval.options import (
    DTYPES,
    add_method_options,
    add_model_options,
    add_sampling_options,
    device_from,
    method_from,
    sampling_from,
)
from llava.eval.questions import Question, check_images_exist, chunk
from llava.eval.reporting import schedule_report, show_answers
from llava.mm_utils import get_model_name_from_path
from llava.model.builder import load_pretrained_model, model_geometry, prepare_tower
from llava.model.checkpoint import read_config
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
    parser.add_argument("--batch-size", type=int, default=1, help="questions answered together")
    parser.add_argument("--num-workers", type=int, help="processes that read images; unset: 4, or none on a CPU")
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
    choice, sampling, device = method_from(args), sampling_from(args), device_from(args)
    if args.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1: got {args.batch_size}")
    questions = questions if already_cut else chunk(questions, args.num_chunks, args.chunk_idx)
    check_images_exist(questions)
    config = read_config(args.model_path)
    prepare_tower(config, args.model_path)
    geometry = model_geometry(config)
    method = choice.build(geometry)
    own_settings |= {"answers": len(questions), "average_tokens": average_tokens(method, geometry)}

    with AnswersFile(args.answers_file, _settings(args, conv_mode, method) | own_settings, args.overwrite) as answers:
        done = _count_done(answers, questions)
        if done < len(questions):
            transformers_logging.disable_progress_bar()
            tokenizer, model, processor, _ = load_pretrained_model(
                args.model_path,
                args.model_base,
                get_model_name_from_path(args.model_path),
                args.load_8bit,
                args.load_4bit,
                device=device,
                reduction=method,
                torch_dtype=DTYPES[args.dtype],
                attn_implementation=args.attn_implementation,
            )
            data = PreparedQuestions(questions, tokenizer, processor, model.config, conv_mode)
            print(schedule_report(method, model, data), flush=True)
            _answer(args, model, data, answers, done, sampling)
    show_answers(args.answers_file, args.show)
    print(f"{len(questions)} answers in {args.answers_file}" + (f", {done} of them from before" if done else ""))


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


def _count_done(answers: AnswersFile, questions: list[Question]) -> int:
    """Answers that are there already; they must be those to the first questions."""
    for number, (record, question) in enumerate(zip(answers.done, questions), 1):
        wrong = [key for key in question.head if record.get(key) != question.head[key]]
        if wrong:
            raise InputError(
                f"answers are continued only for the questions they were begun with: '{answers.path}' line {number} "
                f"has {wrong[0]} {record.get(wrong[0])!r}, expected {question.head[wrong[0]]!r}; use --overwrite"
            )
    if len(answers.done) > len(questions):
        raise InputError(
            f"an answers file holds one line per question: '{answers.path}' has {len(answers.done)}, expected at most "
            f"{len(questions)}; use --overwrite"
        )
    return len(answers.done)


def _answer(
    args: argparse.Namespace,
    model: Any,
    data: PreparedQuestions,
    answers: AnswersFile,
    done: int,
    sampling: dict[str, Any],
) -> None:
    """Answer what is left, in the batches of an uninterrupted run, so that a continued one ends with the same text."""
    first = done - done % args.batch_size
    workers = args.num_workers if args.num_workers is not None else (0 if model.device.type == "cpu" else 4)
    workers = min(workers, os.cpu_count() or 1)
    model_id = get_model_name_from_path(args.model_path)
    # transformers pads rows that end early, with the end token where a checkpoint names no padding.
    pad = data.tokenizer.pad_token_id if data.tokenizer.pad_token_id is not None else data.tokenizer.eos_token_id
    with tqdm(total=len(data), initial=done, unit="question", smoothing=0.05) as progress:
        for items in batches(data, first, args.batch_size, workers):
            readable = next((at for at, item in enumerate(items) if isinstance(item, InputError)), len(items))
            texts = []
            if readable:
                if sampling["do_sample"]:
                    torch.manual_seed(args.seed + first)
                inputs = collate(items[:readable])
                inputs["input_ids"] = inputs["input_ids"].to(model.device)
                output = model.generate(**inputs, **sampling, pad_token_id=pad, use_cache=True)
                texts = data.tokenizer.batch_decode(output, skip_special_tokens=True)
            asked = data.questions[first : first + readable]
            records = [_record(question, text.strip(), model_id) for question, text in zip(asked, texts)]
            already = max(0, done - first)
            answers.write(records[already:])
            progress.update(len(records[already:]))
            if readable < len(items):
                raise items[readable]
            first += len(items)


def _record(question: Question, text: str, model_id: str) -> dict[str, Any]:
    """One line of an answers file; the order of the keys is LLaVA's."""
    end = {"answer_id": shortuuid.uuid(), "model_id": model_id, "metadata": {}}
    return question.head | {"text": text} | question.tail | end
