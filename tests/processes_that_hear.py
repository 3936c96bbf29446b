"""Processes of tests hear signals as in a terminal, however the tests themselves are run."""

import signal


def hear_signals() -> None:
    """For `preexec_fn`: in the background Ctrl-C is ignored, under nohup a hang-up, and children inherit both."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
