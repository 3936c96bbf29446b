"""How every command of this package ends: with its result, or with one line on what was wrong and exit code 2."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

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


def at_least(lowest: int, most: int = LARGEST) -> Callable[[str], int]:
    """An argparse type: a whole number from `lowest` to `most`."""

    def whole_number(text: str) -> int:
        digits = text.strip().removeprefix("-")
        number = int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
        if number is None or not lowest <= number <= most:
            above = f" and at most {most}" if most != LARGEST else ""
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {lowest}{above}: got {shown(text)}")
        return number

    return whole_number


def run(main: Callable[[], None]) -> None:
    """Call a command's main function; what a user or the system can cause ends in one line on stderr and exit code 2.

    Errors that only this package can cause keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a path may be no UTF-8
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        sys.exit(_refuse(str(error)))
    except BrokenPipeError:
        _forget_stdout()
        sys.exit(_refuse("what reads the output has closed it; the rest is not written"))
    except OSError as error:
        sys.exit(_refuse(_refused_by_the_system(error)))
    except MemoryError:
        sys.exit(_refuse("there is not enough memory for this; give it less at a time, or a machine with more"))
    except KeyboardInterrupt:
        sys.exit(_refuse("interrupted; what was written so far is kept", code=130))


def _refused_by_the_system(error: OSError) -> str:
    if error.filename is None:
        return f"the system refused something: {reason(error)}; make room or check rights, and run again"
    return f"{reason(error)}: {shown(str(error.filename), 300)}; check the path and its rights"


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, or Python would complain a second time while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(message: str, code: int = 2) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code
