"""Answers files: LLaVA's JSON Lines, written so that nothing is lost when a run ends early.

A run continues after the last whole line of its file. What was asked for is written beside it, as
`<file>.settings.json`, and a run with other settings is refused.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

from llava.errors import InputError
from llava.files.reading import read_json
from llava.files.writing import write_text

FLUSH_TO_DISK_SECONDS = 1.0


class AnswersFile:
    """An answers file held by this process alone. Use as a context manager.

    Args:
        path: made with its folder if it is not there.
        settings: everything that the answers depend on, JSON values only.
        overwrite: start anew whatever is there.

    Attributes:
        done: whole lines found at the start, as records.

    Raises:
        InputError: when another run writes this file, or it was begun with other settings.
    """

    def __init__(self, path: str, settings: dict[str, Any], overwrite: bool = False) -> None:
        self.path, self.settings = Path(path), json.loads(json.dumps(settings))
        self.settings_path = Path(f"{path}.settings.json")
        self.overwrite = overwrite
        self.done: list[dict] = []

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
        self._file = open(self.path, "a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_over()
        except BlockingIOError:
            self._file.close()
            raise InputError(
                f"one run writes an answers file at a time: '{self.path}' is in use; wait for it or choose another file"
            ) from None
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._to_disk()
        finally:
            self._file.close()

    def _take_over(self) -> None:
        """Find what an earlier run left, cut off a torn last line, and write the settings down."""
        self._file.seek(0)
        content = b"" if self.overwrite else self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if content and not whole and not self.settings_path.exists():
            raise InputError(f"'{self.path}' is no answers file: it holds no whole line; choose another file")
        if whole:
            self._compare_settings()
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise InputError(
                    f"answers must be JSON objects, one a line: '{self.path}' line {number} is none; mend it or use "
                    f"--overwrite"
                )
            self.done.append(record)
        self._file.truncate(len(whole))
        self._file.seek(0, os.SEEK_END)
        write_text(str(self.settings_path), json.dumps(self.settings, indent=2, ensure_ascii=False) + "\n")

    def _compare_settings(self) -> None:
        if not self.settings_path.exists():
            raise InputError(
                f"answers are continued only with the settings they were begun with: '{self.path}' has no "
                f"{self.settings_path.name}; use --overwrite to start anew, or another file"
            )
        before = read_json(str(self.settings_path), "a settings file")
        changed = [name for name in {**before, **self.settings} if before.get(name) != self.settings.get(name)]
        if changed:
            name = changed[0]
            raise InputError(
                f"answers are continued only with the settings they were begun with: '{self.path}' has {name} = "
                f"{before.get(name)!r}, got {self.settings.get(name)!r}; use --overwrite to start anew, or another file"
            )

    def write(self, records: list[dict]) -> None:
        """Append records, in order, and hand them to the operating system at once.

        Raises:
            InputError: when they cannot be written (a full disk); the whole lines before stay.
        """
        append_lines(self._file, self.path, records)
        if time.monotonic() - self._synced > FLUSH_TO_DISK_SECONDS:
            self._to_disk()
            self._synced = time.monotonic()

    def _to_disk(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error


def append_lines(file: BinaryIO, path: Path, records: list[dict]) -> None:
    """Append JSON lines to an open file and hand them to the operating system at once; InputError when they cannot.

    An unbuffered file may take a part of a line before it refuses the rest.
    """
    rest = memoryview("".join(json.dumps(record) + "\n" for record in records).encode())
    try:
        while rest:
            rest = rest[file.write(rest) :]
        file.flush()
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """What to say when answers cannot be kept."""
    return InputError(f"answers must be written: '{path}' cannot be ({error.strerror}); make room and run again")
