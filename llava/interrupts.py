"""Ctrl-C while a command is still importing what it needs: one line, as it is later."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

_LINE = "error: interrupted; nothing was begun\n"


def end_in_one_line() -> None:
    """Until `begun`, Ctrl-C ends this process with one line; an interrupt that nobody caught does so afterwards too.

    No KeyboardInterrupt is raised while libraries are imported: they take it for a missing module, or try again.
    """
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(_LINE)
        else:
            usual(kind, error, trace)

    sys.excepthook = hook


def begun() -> None:
    """The command's own work begins, which has its own end: from here on Ctrl-C is Python's again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    sys.stderr.write(_LINE)
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
