"""The offline runner on the questions that a server is asked: its answers, and how long it takes once it is loaded."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.command import Parser
from llava.eval.runs.llava_run import LlavaRun
from llava.eval.runs.loading import load_model
from llava.eval.runs.method_options import method_from
from llava.eval.runs.options import sampling_from
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.questions import FileImage, Question
from llava.eval.runs.runner import add_runner_options, answer_left
from llava.eval.runs.schedules import schedules_of
from llava.serve.conv_mode import conv_mode_of
from llava.serve.measures.asked import Asked


class Offline:
    """A model, `loaded`, that answers as `llava.eval.model_vqa_loader --batch-size auto` does, greedily."""

    def __init__(self, args: argparse.Namespace) -> None:
        parser = Parser(prog="offline")
        add_runner_options(parser, args.question_file, max_new_tokens=args.max_new_tokens)
        flags = ["--model-path", args.model_path, "--method", args.method, "--temperature", "0", "--batch-size", "auto"]
        flags += ["--retain", str(args.retain)] if args.retain else []
        self._args = parser.parse_args(flags)
        self._args.conv_mode = args.conv_mode
        self._args.conv_mode = conv_mode_of(self._args)
        self.loaded = load_model(self._args)

    def answers(self, asked: Sequence[Asked]) -> tuple[list[str], float]:
        """The answer to each question, and the seconds for all: pictures read, questions asked, answers written."""
        questions = [
            Question(f"question {number}", one.text, _file(one), {"question_id": number})
            for number, one in enumerate(asked)
        ]
        choice, sampling = method_from(self._args), sampling_from(self._args)
        model = self.loaded.model
        schedules = schedules_of(choice, model.config, questions)
        model.set_reduction(schedules[0].method)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            data = self.loaded.prepare(questions, self._args.conv_mode)
            answering, kept = LlavaRun(self._args, schedules, None).answering(self.loaded, data, sampling)
            with AnswersFile(str(Path(folder) / "answers.jsonl"), {}, True) as file:
                answer_left(self._args, answering, kept, OrderedAnswers(file, questions))
                records = file.finish()
            return [record["text"] for record in records], time.perf_counter() - began


def _file(asked: Asked) -> FileImage:
    return FileImage(str(asked.picture), str(asked.picture))
