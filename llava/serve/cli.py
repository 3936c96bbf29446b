"""Chat about pictures in a terminal.

    python -m llava.serve.cli --model-path CHECKPOINT --image-file photo.jpg --retain 64

LLaVA's flags and those of every method. Several turns share one KV cache; answers are written as they come; Ctrl-C
ends an answer, not the chat; Ctrl-D leaves. `/help` lists what else can be typed.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer

from llava.errors import InputError, one_line
from llava.eval.runs.command import Parser, run
from llava.eval.runs.conv_mode import add_conv_mode
from llava.eval.runs.loading import TRAINED, check_trained, load_model
from llava.eval.runs.method_options import add_method_options, method_from
from llava.eval.runs.options import add_model_options, add_sampling_options, device_from, sampling_from
from llava.files.pictures import open_image
from llava.mm_utils import get_model_name_from_path
from llava.reduction import Reduction, resolve
from llava.reduction.schedule import describe
from llava.serve.chat import Chat
from llava.serve.conv_mode import conv_mode_of
from llava.serve.engine.text import Growing, Writer
from llava.serve.kept import write_kept
from llava.serve.words import HELP, read_line, tokens_of

PROMPT = "you: "


class Printer(BaseStreamer):
    """Writes an answer's words to stdout as they come, nothing of its end mark and nothing behind it."""

    def __init__(self, chat: Chat) -> None:
        self._answer = Growing(Writer(chat.loaded.tokenizer), chat.stops.texts)

    def put(self, value: torch.Tensor) -> None:
        """Ids (n,) or (1, n) int64 of the answer."""
        for token in value.flatten().tolist():
            if not self._answer.ended:
                self._print(self._answer.add(token))

    def end(self) -> None:
        """No token follows."""
        self._print(self._answer.finish())

    def _print(self, text: str) -> None:
        print("".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text), end="", flush=True)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While the block runs, Ctrl-C sets a mark instead of ending the program; yields what reads the mark."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def reader(args: argparse.Namespace) -> Callable[[], str]:
    """What asks for a line: with history and editing in a terminal, else plain lines from stdin.

    EOFError ends the chat; KeyboardInterrupt while a line is typed drops the line.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return lambda: _line(sys.stdin)
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory
    except ImportError:
        return lambda: input(PROMPT)
    history = Path(os.environ.get("XDG_STATE_HOME", "~/.local/state")).expanduser() / "visiondrop/chat_history"
    history.parent.mkdir(parents=True, exist_ok=True)
    session: Any = PromptSession(history=FileHistory(str(history)))
    return lambda: session.prompt(PROMPT)


def _line(stream: Any) -> str:
    line = stream.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def another(words: tuple[str, ...], chat: Chat) -> Reduction:
    """The method that `/method NAME [TOKENS]` names, fitted to the model."""
    named = words[0] if len(words) == 1 else {"method": words[0], "retain": tokens_of(words[1])}
    return resolve(named, chat.loaded.model.geometry)


def obey(command: str, words: tuple[str, ...], chat: Chat) -> None:
    """Do what a command says, and say what was done."""
    match command:
        case "/image":
            chat.show(open_image(words[0]))
            print(f"{words[0]} goes with the next message", flush=True)
        case "/method":
            chat.use(another(words, chat))
            print(f"from now on {words[0]}: {describe(chat.reduction, chat.loaded.model.geometry)}", flush=True)
        case "/kept":
            print(write_kept(chat, words[0] if words else "kept.png"), flush=True)
        case "/reset":
            chat.forget()
            print("forgotten", flush=True)
        case "/help":
            print("\n".join(f"  {usage:24}{text}" for usage, text in HELP.items()), flush=True)


def answer(chat: Chat, message: str) -> None:
    """Ask, and write the answer as it comes."""
    with interruptible() as stopped:
        turn = chat.ask(message, Printer(chat), stopped)
    print("" if turn.complete else " [stopped]", flush=True)


def talk(chat: Chat, read: Callable[[], str]) -> None:
    """Lines in, answers out, until there are no more lines. A line that makes no sense is answered with why."""
    while True:
        try:
            line = read_line(read())
            if line.command == "/exit":
                return
            if line.command:
                obey(line.command, line.words, chat)
            elif line.words[0]:
                answer(chat, line.words[0])
        except EOFError:
            return
        except KeyboardInterrupt:
            print("Ctrl-D or /exit leaves", flush=True)
        except InputError as error:
            print(f"error: {one_line(error)}", flush=True)


def build_parser() -> Parser:
    """LLaVA's options of this command, and ours."""
    parser = Parser(prog="python -m llava.serve.cli", description=(__doc__ or "").split("\n")[0])
    add_model_options(parser)
    parser.set_defaults(model_path=TRAINED)
    parser.add_argument("--image-file", action="append", default=[], help="a picture to begin with; may be repeated")
    add_conv_mode(parser)
    add_sampling_options(parser, max_new_tokens=512)
    parser.add_argument("--max-new-tokens", dest="max_new_tokens", type=int, help="the same as --max_new_tokens")
    parser.add_argument("--debug", action="store_true", help="print the prompt and what the cache held, on stderr")
    add_method_options(parser)
    return parser


def main() -> None:
    """The command."""
    args = build_parser().parse_args()
    check_trained(args.model_path)
    device_from(args)
    choice, sampling = method_from(args), sampling_from(args)
    args.conv_mode = conv_mode_of(args)
    pictures = [open_image(path) for path in args.image_file]
    loaded = load_model(args)
    print(loaded.about(args), file=sys.stderr)
    geometry = loaded.model.geometry
    chat = Chat(loaded, args.conv_mode, sampling, choice.build(geometry))
    for picture in pictures:
        chat.show(picture)
    print(f"{get_model_name_from_path(args.model_path)}, {choice.name}: {describe(chat.reduction, geometry)}; /help")
    talk(chat, reader(args))


if __name__ == "__main__":
    run(main)
