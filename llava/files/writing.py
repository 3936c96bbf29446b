"""Writing files: whole or not at all, and what cannot be written is said in one line."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from llava.errors import InputError, shown
from llava.files.reading import reason


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A UTF-8 file, whole or not at all; its folder is made. InputError when it cannot be written."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """A file, whole or not at all; its folder is made. InputError when it cannot be written."""
    with replacing(path) as unfinished:
        Path(unfinished).write_bytes(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """A path to write to, which takes the place of `path` when the block ends well; else nothing is left of it.

    The file is made anew under a name nobody else has, so two writers never meet in it and no link is followed. Where
    `path` is a link, what it points to is replaced; where it is a device such as /dev/null, it is written itself.

    Raises:
        InputError: when the file or its folder cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            yield str(target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = str(target.parent / f".{target.name[:60]}.{secrets.token_hex(8)}.part")
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666))
        try:
            if target.exists():
                os.chmod(unfinished, stat.S_IMODE(target.stat().st_mode))
            yield unfinished
            with open(unfinished, "rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """What to say when a file cannot be written."""
    return InputError(
        f"a file must be writable: {shown(str(path), 300)} is not ({reason(error)}); make room, or choose another path"
    )
