"""JSON Lines as bytes: what is appended to answers and to those that wait for their turn."""

import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.files.reading import parse_json, reason


def encoded(records: list[dict[str, Any]]) -> bytes:
    """Records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def records_in(content: bytes) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The objects of whole lines with their numbers, from 1; None for a line that is no JSON object."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = parse_json(line, "a line", f"{number}")
        except InputError:
            record = None
        yield number, record if isinstance(record, dict) else None


def whole_part(content: bytes) -> bytes:
    """The content without a torn last line."""
    return content[: content.rfind(b"\n") + 1]


def append(file: io.FileIO, path: Path, lines: bytes) -> None:
    """Append to an unbuffered file, which may take a part of a line before it refuses the rest.

    Raises:
        InputError: when it refuses.
    """
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """What to say when answers cannot be kept."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "make room and run again" if full else "check the path and its rights"
    return InputError(f"answers must be written: {shown(str(path), 300)} cannot be ({reason(error)}); {remedy}")
