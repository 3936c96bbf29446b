"""How every command of this package ends: with its result, or with one line on what was wrong and exit code 2."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from llava import interrupts
from llava.errors import InputError, one_line, shown
from llava.files.reading import reason

# Above this a number on the command line is a slip of the finger: seeds and byte counts stay below it.
LARGEST = 2**63 - 1


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one line, without the usage text before it. Flags are never guessed from a part."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print the complaint on stderr and leave with code 2."""
        self.exit(_refuse(f"{message}; --help lists the options"))


def at_least(lowest: int = -LARGEST, most: int = LARGEST) -> Callable[[str], int]:
    """An argparse type: a whole number from `lowest` to `most`, which no program has trouble to hold."""
    rule = "a whole number" if lowest == -LARGEST else f"a whole number of at least {lowest}"

    def whole_number(text: str) -> int:
        sign, digits = (-1 if text.strip().startswith("-") else 1), text.strip().removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()):
            raise argparse.ArgumentTypeError(f"must be {rule}: got {shown(text)}")
        # Python refuses to read thousands of digits; that many are beyond any bound.
        number = sign * (int(digits) if len(digits) < 20 else 10**20)
        if not lowest <= number <= most:
            bound = rule if number < lowest != -LARGEST else f"a whole number from {max(lowest, -most)} to {most}"
            raise argparse.ArgumentTypeError(f"must be {bound}: got {shown(text)}")
        return number

    return whole_number


def between(lowest: float, most: float) -> Callable[[str], float]:
    """An argparse type: a number from `lowest` to `most`, no NaN."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a number from {lowest:g} to {most:g}: got {shown(text)}")
        return value

    return number


class Stopped(BaseException):
    """SIGTERM: a job's time is over, or a person has said so. It passes by what catches errors, as Ctrl-C does."""


def run(main: Callable[[], None]) -> None:
    """Call a command's main function; what a user or the system can cause ends in one line on stderr and exit code 2.

    Ctrl-C and SIGTERM end in one line and the code that a shell gives them. Errors that only this package can cause
    keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a path may be no UTF-8
    try:
        with _stopped_by_sigterm():
            interrupts.begun()
            main()
            sys.stdout.flush()
    except InputError as error:
        _end(str(error))
    except BrokenPipeError:
        _end("what reads the output has closed it; the rest is not written")
    except OSError as error:
        _end(_refused_by_the_system(error))
    except RecursionError:
        _end("something is nested too deeply to be read; look for brackets without end in the files given")
    except (MemoryError, RuntimeError) as error:
        if _is_ended_reader(error):
            _end(
                f"processes that read pictures must not be ended: one was ({reason(error)[:200]}); where memory, or "
                f"/dev/shm, is short, take fewer (--num-workers 0: none) and run again"
            )
        if not _is_out_of_memory(error):
            raise
        _end("there is not enough memory for this; give it less at a time, or a machine with more")
    except KeyboardInterrupt:
        _end("interrupted; what was written so far is kept", code=130)
    except Stopped:
        _end("told to stop; what was written so far is kept", code=143)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Within, SIGTERM raises `Stopped`, once: whoever sends it twice does not disturb what is put in order then."""

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises for readers that are told the same
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _is_ended_reader(error: BaseException) -> bool:
    """Whether torch says, wherever it happens to notice, that a process that reads pictures is gone."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from llava.eval.runs.memory import is_out_of_memory  # with torch, which many commands do without

    return is_out_of_memory(error)


def _refused_by_the_system(error: OSError) -> str:
    if error.filename is None:
        return f"the system refused something: {reason(error)}; make room or check rights, and run again"
    return f"{reason(error)}: {shown(str(error.filename), 300)}; check the path and its rights"


def _end(message: str, code: int = 2) -> NoReturn:
    """Leave with one line. What is still buffered for a closed or full output goes nowhere, or Python would complain
    a second time while it ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_refuse(message, code))


def _refuse(message: str, code: int = 2) -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it
        print(f"error: {one_line(message)}", file=sys.stderr, flush=True)
    return code
