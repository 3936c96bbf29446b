"""Ctrl-C while a command is still importing what it needs: one line, as it is later."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def is_command(arguments: Sequence[str]) -> bool:
    """Whether an interpreter's arguments start a command of this package: `-m llava...`, or a file of `scripts/`."""
    for before, name in zip(arguments, arguments[1:]):
        if before == "-m":
            return name.split(".")[0] == "llava"
        if not name.startswith("-") and name.endswith(".py"):
            return Path(name).absolute().parent == Path(__file__).parents[1] / "scripts"
    return False


def end_in_one_line() -> None:
    """From here on Ctrl-C that nobody caught ends this process with one line; other errors keep their traceback."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("error: interrupted; nothing was begun\n")
        else:
            usual(kind, error, trace)

    sys.excepthook = hook
