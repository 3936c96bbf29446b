"""How every command of this package ends: with its result, or with one line on what was wrong and exit code 2."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from llava.errors import InputError


class Parser(argparse.ArgumentParser):
    """argparse whose complaint is one line, without the usage text before it. Flags are never guessed from a part."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print the complaint on stderr and leave with code 2."""
        self.exit(2, f"error: {message}; --help lists the options\n")


def at_least(lowest: int) -> Callable[[str], int]:
    """An argparse type: a whole number that is not below `lowest`."""

    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {lowest}: got '{text}'")
        return int(text)

    return whole_number


def run(main: Callable[[], None]) -> None:
    """Call a command's main function; what a user can cause ends in one line on stderr and exit code 2.

    Errors that only this package can cause keep their traceback.
    """
    try:
        main()
    except InputError as error:
        sys.exit(_refusal(str(error)))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(
            _refusal(f"{error.strerror or type(error).__name__}: '{error.filename}'; check the path and its rights")
        )
    except KeyboardInterrupt:
        sys.exit(_refusal("interrupted; what was written so far is kept", code=130))


def _refusal(message: str, code: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
