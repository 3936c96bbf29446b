"""Ctrl-C while a command is still importing what it needs: one line, as it is later."""

import os
import signal
import sys
from types import TracebackType


def end_in_one_line() -> None:
    """From here on Ctrl-C that nobody caught ends this process with one line; other errors keep their traceback."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _was_interrupted(error):
            usual(kind, error, trace)
            return
        sys.stderr.write("error: interrupted; nothing was begun\n")
        if not issubclass(kind, KeyboardInterrupt):  # ends as Python does after one
            sys.stderr.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    sys.excepthook = hook


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C, or comes of one: transformers makes a missing module of it while it imports."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False
