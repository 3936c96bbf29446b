"""Logs of a program that runs for long, such as a server: one file for what it logs and for what it prints."""

import logging
import logging.handlers
import os
import sys
from typing import Any

from llava.constants import LOGDIR
from llava.files.writing import unwritable

_FORMAT = logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s", "%Y-%m-%d %H:%M:%S")


class StreamToLogger:
    """A text stream whose lines become records of a logger; what it does not have itself it has from `terminal`."""

    def __init__(self, logger: logging.Logger, log_level: int = logging.INFO) -> None:
        self.terminal = sys.stdout
        self.logger = logger
        self.log_level = log_level
        self.linebuf = ""

    def __getattr__(self, attr: str) -> Any:
        """What is asked of a stream besides writing: its encoding, whether it is a terminal."""
        return getattr(self.terminal, attr)

    def write(self, buf: str) -> int:
        """Log every whole line; the rest waits for the next call or for `flush`."""
        *lines, self.linebuf = (self.linebuf + buf).split("\n")
        for line in lines:
            self.logger.log(self.log_level, line.rstrip())
        return len(buf)

    def flush(self) -> None:
        """Log what waits for the end of its line."""
        if self.linebuf:
            self.logger.log(self.log_level, self.linebuf.rstrip())
        self.linebuf = ""


def build_logger(logger_name: str, logger_filename: str) -> logging.Logger:
    """A logger for the whole process, as LLaVA's servers use it.

    Records go to the terminal and to LOGDIR/`logger_filename`, which starts anew every day (UTC). From now on what the
    process prints is logged too: stdout at level INFO under the name `stdout`, stderr at ERROR under `stderr`.
    Asked again, it adds what is new and nothing twice.

    Raises:
        InputError: the log file cannot be written.
    """
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(level=logging.INFO)
    root.handlers[0].setFormatter(_FORMAT)
    path = os.path.abspath(os.path.join(LOGDIR, logger_filename))
    if path not in [getattr(handler, "baseFilename", None) for handler in root.handlers]:
        root.addHandler(_daily_file(path))
    for name, level in (("stdout", logging.INFO), ("stderr", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
        if not isinstance(getattr(sys, name), StreamToLogger):
            setattr(sys, name, StreamToLogger(logging.getLogger(name), level))
    logger = logging.getLogger(logger_name)
    logger.setLevel(logging.INFO)
    return logger


def _daily_file(path: str) -> logging.Handler:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handler = logging.handlers.TimedRotatingFileHandler(path, when="D", utc=True, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
    handler.setFormatter(_FORMAT)
    return handler
