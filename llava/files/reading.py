"""Reading text and JSON, with complaints that name the file and the line."""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from llava.errors import InputError, one_line, shown

# What json raises on text that is no JSON: bad syntax or a number of thousands of digits, and brackets without end.
_NOT_JSON = (ValueError, RecursionError)
# What people give where text is expected, by its first bytes, and what to do about it.
_BINARY = {
    b"PK\x03\x04": "a zip file, as Excel's .xlsx and .docx are; give the text file that it was made of",
    b"\xd0\xcf\x11\xe0": "a file of Excel 97 or Word 97; give the text file that it was made of",
    b"\x1f\x8b": "a gzip file; unpack it",
    b"PAR1": "a Parquet file; give the benchmark's own file",
}


def check_regular(path: str | os.PathLike[str], what: str) -> None:
    """Refuse what is no file of bytes (a folder, a pipe, a device), which could be read for ever.

    Raises:
        InputError: also when there is nothing at `path`.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(
            f"{what} must be readable: {shown(str(path), 300)} is not ({reason(error)}); check the path"
        ) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"
        raise InputError(f"{what} must be a file: {shown(str(path), 300)} is {kind}; check the path")


def read_bytes(path: str | os.PathLike[str], what: str) -> bytes:
    """The content of a regular file. `what` names it in the complaint, as in "a question file".

    Raises:
        InputError: when it is not there, cannot be read or is no regular file.
    """
    check_regular(path, what)
    try:
        return Path(path).read_bytes()
    except (OSError, MemoryError) as error:
        raise InputError(
            f"{what} must be readable: {shown(str(path), 300)} is not ({reason(error)}); check the path"
        ) from None


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """A UTF-8 file, with or without a byte order mark; line ends as they are. InputError as `read_bytes`."""
    content = read_bytes(path, what)
    binary = next((kind for start, kind in _BINARY.items() if content.startswith(start)), None)
    if binary:
        raise InputError(f"{what} must be UTF-8 text: {shown(str(path), 300)} is {binary}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} must be UTF-8 text: {shown(str(path), 300)} is not ({error.reason} at byte {error.start}); check "
            f"the path, or save it as UTF-8"
        ) from None


def files_in(folder: str | os.PathLike[str], pattern: str = "*") -> list[Path]:
    """What lies in a folder and matches, by name; names that begin with a dot (`.DS_Store`, `._x`) are passed over.

    Raises:
        InputError: when the folder cannot be listed.
    """
    try:
        names = os.listdir(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"a folder must be there: {shown(str(folder), 300)} is not ({reason(error)})") from None
    return [Path(folder) / name for name in sorted(names) if name[0] != "." and fnmatch.fnmatchcase(name, pattern)]


def parse_json(text: str | bytes, what: str, where: str, remedy: str = "fetch it again") -> Any:
    """One JSON value.

    Args:
        what: names the kind of file in the complaint, as in "a settings file".
        where: names the file or line.
        remedy: what to do about it.

    Raises:
        InputError: for what is no JSON; for NaN, Infinity and numbers no float holds, which are none in JSON; for half
            of a surrogate pair, which no file could be written with.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if (b"\\ud" if isinstance(text, bytes) else "\\ud") in text.lower():  # type: ignore[operator]
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{what} must hold whole characters: {where} has half of a surrogate pair (\\ud800 to \\udfff without its "
            f"other half); write the character out"
        ) from None
    except _NOT_JSON as error:
        raise InputError(f"{what} must be JSON: {where} is none ({reason(error)}); {remedy}") from None
    return value


def read_json(path: str | os.PathLike[str], what: str, remedy: str = "fetch it again") -> Any:
    """One JSON value from a file; InputError as `read_text` and `parse_json`."""
    return parse_json(read_text(path, what), what, shown(str(path), 300), remedy)


def read_json_object(path: str | os.PathLike[str], what: str, remedy: str = "fetch it again") -> dict[str, Any]:
    """One JSON object from a file; InputError as `read_json`, and where it is JSON of another kind."""
    value = read_json(path, what, remedy)
    if not isinstance(value, dict):
        raise InputError(
            f"{what} must be one JSON object: {shown(str(path), 300)} is {kind_of(value)}, expected {{...}}; {remedy}"
        )
    return value


def json_lines(text: str, path: str, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON Lines file with their places (`FILE line N`); blank lines are passed over.

    Raises:
        InputError: at the first line that is no JSON object, naming it; a JSON array is called by its name.
    """
    for number, line in numbered_lines(text):
        where = f"{path} line {number}"
        if line.lstrip().startswith("["):
            raise InputError(
                f"{what} must hold one JSON object per line: {where} is a JSON array; write every element on a line of "
                f"its own"
            )
        record = parse_json(line, f"a line of {what}", where, "mend or remove the line")
        if not isinstance(record, dict):
            raise InputError(f"{what} must hold one JSON object per line: {where} is {kind_of(record)}; mend it")
        yield where, record


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank with their numbers, from 1.

    Only a line feed ends a line: JSON strings may hold the other characters that `str.splitlines` breaks at.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def file_digest(path: str | os.PathLike[str], what: str = "a file") -> str:
    """SHA-256 of a regular file, hexadecimal; InputError as `read_bytes`."""
    check_regular(path, what)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{what} must be readable: {shown(str(path), 300)} is not ({reason(error)})") from None


def kind_of(value: object) -> str:
    """What a JSON value is, in words for a complaint."""
    names = {dict: "a JSON object", list: "a JSON array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def reason(error: BaseException) -> str:
    """Why something failed, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "brackets nested too deeply"
    if "integer string conversion" in str(error):  # Python's own words advise how to turn its limit off
        return "a number of thousands of digits"
    return one_line(error) or type(error).__name__


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
