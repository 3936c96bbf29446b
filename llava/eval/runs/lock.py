"""A file for one process alone."""

import contextlib
import errno
import fcntl
import io
import os
import sys
from pathlib import Path

from llava.errors import InputError, shown

# What a file system without locks answers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def open_alone(path: Path) -> io.FileIO:
    """The file open for reading and appending and locked for this process; made if it is not there.

    Unbuffered: what a full disk refuses must not be tried again when the file is closed.

    Raises:
        InputError: when another process holds it.
        OSError: when it cannot be opened for writing.
    """
    while True:
        file = io.FileIO(path, "a+")
        try:
            _lock(file, path)
            if is_at(path, file):  # the run that held it may have put another file in its place
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: io.FileIO, path: Path) -> None:
    """Lock the file for this process, where nobody holds it in either of Unix's two ways."""
    try:
        # Only asked for: held, such a lock would be inherited by forked processes and outlive a killed run.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise InputError(
                f"one run writes an answers file at a time: {shown(str(path), 300)} is in use; wait for it or choose "
                f"another file"
            ) from None
        print(
            f"WARNING: the file system of {shown(str(path), 300)} has no locks; see that no other run writes it",
            file=sys.stderr,
        )


def is_at(path: Path, file: io.FileIO) -> bool:
    """Whether an open file is what lies at a path."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    return False
