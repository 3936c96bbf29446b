"""Ctrl-C while a command is still importing what it needs: one line, as it is later."""

import sys
from types import TracebackType


def end_in_one_line() -> None:
    """From here on Ctrl-C that nobody caught ends this process with one line; other errors keep their traceback."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("error: interrupted; nothing was begun\n")
        else:
            usual(kind, error, trace)

    sys.excepthook = hook
