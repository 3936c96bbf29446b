"""What is asked while a server is measured: questions of a file as chat requests, and servers to ask."""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llava.errors import InputError
from llava.eval.files import read_jsonl
from llava.serve.clients import chat_body
from llava.serve.starting import RunningServer, running_server

NAME = "m"  # of the model, as clients say it


@dataclass(frozen=True)
class Asked:
    """A question, its picture, and the request that asks it."""

    text: str
    picture: Path
    body: bytes


def questions_of(args: argparse.Namespace, pictures: int) -> list[Asked]:
    """All questions of the file about its first so many pictures.

    Raises:
        InputError: for a file with fewer pictures.
    """
    rows = read_jsonl(args.question_file, ("image", "text"), "a question file", ("image", "text"))
    chosen = list(dict.fromkeys(row["image"] for _, row in rows))[:pictures]
    if len(chosen) < pictures:
        raise InputError(
            f"{pictures} pictures are needed: '{args.question_file}' has {len(chosen)}; ask for fewer, or name another"
        )
    asked = [row for _, row in rows if row["image"] in set(chosen)]
    return [_asked(row["text"], Path(args.image_folder) / row["image"], args.max_new_tokens) for row in asked]


def _asked(text: str, picture: Path, tokens: int) -> Asked:
    return Asked(text, picture, chat_body(NAME, picture, text, max_tokens=tokens))


def repeated(asked: list[Asked], count: int) -> list[Asked]:
    """So many of them, from the beginning again where there are fewer."""
    return [asked[number % len(asked)] for number in range(count)]


@contextlib.contextmanager
def server(args: argparse.Namespace, *flags: str) -> Iterator[RunningServer]:
    """A server of its own process while the block runs."""
    method = ["--method", args.method] + (["--retain", str(args.retain)] if args.retain else [])
    template = ["--conv-mode", args.conv_mode] if args.conv_mode else []
    common = ["--model-path", args.model_path, *method, *template, "--served-model-name", NAME]
    with running_server([*common, *flags]) as running:
        yield running
