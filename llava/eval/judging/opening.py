"""How commands begin that ask a model a benchmark under many methods: their options, the benchmark, the model."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava.conversation import Conversation
from llava.errors import InputError
from llava.eval.judging.items import Item, every_nth_picture, questions_of
from llava.eval.judging.kinds import KINDS, NAMES, RULES, Kind, place_of
from llava.eval.requirements import require
from llava.eval.runs.command import Parser, at_least
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.inputs import PreparedQuestions
from llava.eval.runs.loading import TRAINED, Loaded, check_trained, load_model
from llava.eval.runs.options import MOST_NEW_TOKENS, MOST_ROWS, add_model_options, conversation_from
from llava.eval.runs.questions import check_questions
from llava.mm_utils import get_model_name_from_path

DATA = "playground/data/eval"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that is there to be asked.

    Attributes:
        limit: new tokens that an answer may have.
    """

    name: str
    kind: Kind
    items: list[Item]
    limit: int

    @property
    def records(self) -> list[dict[str, str]]:
        """Picture and category of every item."""
        return [item.record for item in self.items]

    @property
    def pictures(self) -> int:
        """How many different ones."""
        return len({item.image for item in self.items})


@dataclass(frozen=True)
class Opened:
    """The model and the benchmarks, ready to be asked."""

    loaded: Loaded
    benchmarks: list[Benchmark]
    conv_mode: str | Conversation
    name: str

    def prepared(self, benchmark: Benchmark) -> PreparedQuestions:
        """A benchmark's questions as inputs of the model."""
        return self.loaded.prepare(questions_of(benchmark.items), self.conv_mode)

    @property
    def about(self) -> dict[str, Any]:
        """What is written down of the model."""
        return {"model": self.name, "dtype": str(self.loaded.model.dtype).removeprefix("torch.")}


def add_benchmark_options(parser: Parser, output: str | None, several: bool = False) -> None:
    """Which model is asked which questions, how they are put together, and where to write.

    Args:
        several: take lists of benchmarks.
    """
    add_model_options(parser)
    parser.set_defaults(model_path=TRAINED)
    lists: dict[str, Any] = {"nargs": "+"} if several else {}
    shipped = "; unset: the shapes'"
    parser.add_argument("--benchmark", choices=NAMES, help="by name, with files below --data" + shipped, **lists)
    parser.add_argument("--data", default=DATA, help="folder of benchmark data, as the scripts have it")
    parser.add_argument("--question-file", help="LLaVA's question file, of a benchmark of your own", **lists)
    parser.add_argument("--annotation-file", help="its right answers" + shipped, **lists)
    parser.add_argument("--image-folder", help="what its image names are relative to" + shipped, **lists)
    parser.add_argument("--rule", choices=RULES, help="when an answer of it is right; unset: exact", **lists)
    add_conv_mode(parser, "vicuna_v1")
    parser.add_argument("--every", type=at_least(1), default=1, help="use every n-th picture only")
    parser.add_argument("--batch-size", type=at_least(1, MOST_ROWS), default=64, help="questions answered together")
    limit = "limit of an answer; unset: 8, or 128 of a benchmark by name"
    parser.add_argument("--max_new_tokens", type=at_least(1, MOST_NEW_TOKENS), help=limit)
    parser.add_argument("--output", default=output, help="stem of the files to write")


def read_benchmark(name: str, files: tuple[str, str, str, str], args: argparse.Namespace) -> Benchmark:
    """A benchmark's items, checked, of every n-th picture.

    Args:
        files: rule, question file, right answers, pictures.
    """
    rule, *places = files
    kind = KINDS[rule]
    items = every_nth_picture(kind.read(*places), args.every)
    check_questions(questions_of(items))
    return Benchmark(name, kind, items, args.max_new_tokens or kind.limit)


def places_of(args: argparse.Namespace) -> dict[str, tuple[str, str, str, str]]:
    """Rule, question file, right answers and pictures of every benchmark that the options name, by its name.

    Raises:
        InputError: where lists are of different lengths and not of one, belong to no question file, or two benchmarks
            have one name.
    """
    named = [(name, place_of(name, args.data)) for name in _listed(args.benchmark)]
    questions = _listed(args.question_file)
    rule, *usual = place_of("shapes", args.data)
    if not named and not questions:
        questions = [usual[0]]
    own = {"rule": rule, "annotation_file": usual[1], "image_folder": usual[2]}
    columns = []
    for key, default in own.items():
        values = _listed(getattr(args, key))
        flag = f"--{key.replace('_', '-')}"
        if values and not questions:
            raise InputError(f"{flag} belongs to a --question-file: got it with --benchmark alone; leave it out")
        if len(values) > 1 and len(values) != len(questions):
            raise InputError(
                f"{flag} must come once, or once for each question file: got {len(values)}, expected {len(questions)}"
            )
        columns.append((values or [default]) * (len(questions) if len(values) < 2 else 1))
    for path, which, truth, images in zip(questions, *columns):
        named.append((_name_of(path), (which, path, truth, images)))
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise InputError(f"benchmarks need different names, those of their question files: got {', '.join(names)}")
    return dict(named)


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _name_of(path: str) -> str:
    """A question file's name, or its folder's where it is called questions."""
    return Path(path).resolve().parent.name if Path(path).stem == "questions" else Path(path).stem


def benchmarks_of(args: argparse.Namespace) -> list[Benchmark]:
    """All of them, read: a fault in the last one's files is found before the first is asked."""
    return [read_benchmark(name, files, args) for name, files in places_of(args).items()]


def open_all(args: argparse.Namespace, picture: bool = True) -> Opened:
    """The beginning of a command: everything is checked, read and loaded; what was loaded is said on stderr.

    Args:
        picture: the command draws one.

    Raises:
        InputError: for options, files or a checkpoint that cannot be used.
    """
    if picture:
        require("matplotlib", "the picture")
    check_trained(args.model_path)
    benchmarks = benchmarks_of(args)
    conv_mode = conversation_from(args)
    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    return Opened(loaded, benchmarks, conv_mode, get_model_name_from_path(args.model_path))


def open_one(args: argparse.Namespace, picture: bool = True) -> tuple[Opened, Benchmark]:
    """The same of a command about one benchmark.

    Raises:
        InputError: also where the options name two.
    """
    if args.benchmark and args.question_file:
        raise InputError("one benchmark can be asked here: got --benchmark and --question-file; leave one out")
    opened = open_all(args, picture)
    [benchmark] = opened.benchmarks
    return opened, benchmark
