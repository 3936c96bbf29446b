"""Answers files: LLaVA's JSON Lines, written so that nothing is lost when a run ends early.

A run continues after the last whole line of its file. What was asked for is written beside it (`settings.py`), and a
run with other settings is refused. What another program does to the file while a run writes it does not go unnoticed.
"""

import errno
import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any, Self

from llava.errors import InputError
from llava.eval.runs.lines import append, encoded, records_in, unwritable, whole_part
from llava.eval.runs.lock import is_at, open_alone
from llava.eval.runs.settings import as_text, as_written, difference, path_of, read_settings, told, write_settings
from llava.files.reading import check_regular
from llava.files.writing import replacing

FLUSH_TO_DISK_SECONDS = 1.0
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class AnswersFile:
    """An answers file held by this process alone. Use as a context manager.

    The lock is the process's own (POSIX), so the processes that read pictures do not inherit it and it ends with a
    killed run. It also ends when any other descriptor of the file is closed here: while the file is held, it is read
    through this object alone.

    Args:
        path: made with its folder if it is not there.
        settings: everything that the answers depend on, JSON values only; `answers` is how many there will be.
        overwrite: start anew whatever is there. What is there stays until the first new answer.

    Attributes:
        done: whole lines found at the start, as records.
        anew: nothing of an earlier run is continued, so what lies beside is none of this run's.
        replaces: what was there before is still there, until the first answer.

    Raises:
        InputError: when another run writes this file, it was begun with other settings, or it cannot be written.
    """

    def __init__(self, path: str, settings: dict[str, Any], overwrite: bool = False) -> None:
        self.path, self.settings, self.overwrite = Path(path), as_written(settings), overwrite
        self.held_path = Path(f"{path}.held.jsonl")
        self.done: list[dict] = []
        self.anew = True
        self.replaces = False

    def __enter__(self) -> Self:
        try:
            if os.path.exists(self.path):
                check_regular(self.path, "an answers file")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_alone(self.path)
        except OSError as error:
            if error.errno not in READ_ONLY or self.overwrite or not self.path.is_file():
                raise unwritable(self.path, error) from None
            self._file = io.FileIO(self.path, "r")
            self._refusal: OSError | None = error
        else:
            self._refusal = None
        try:
            self._take_over()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()
        return self

    @property
    def read_only(self) -> bool:
        """Whether this is a finished file that cannot be written, and need not be."""
        return self._refusal is not None

    def __exit__(self, *_: object) -> None:
        try:
            self._to_disk()
        finally:
            self._file.close()

    def _take_over(self) -> None:
        """Find what an earlier run left, cut off a torn last line, and write the settings down."""
        content = self._content()
        if self.overwrite and content:
            self.replaces, content = True, b""
        whole = whole_part(content)
        if content and not whole and not path_of(self.path).exists():
            raise InputError(f"'{self.path}' is no answers file: it holds no whole line; choose another file")
        before = self._settings_before(needed=bool(whole))
        self.anew = before is None
        self.done = self._records(whole)
        self._digest, self._size = hashlib.sha256(whole), len(whole)
        if self._refusal is not None:
            if len(content) != len(whole) or self.replaces or len(self.done) != self.settings.get("answers"):
                raise unwritable(self.path, self._refusal)
            return
        Path(f"{self.path}.failed").unlink(missing_ok=True)  # a script's note about the last run, see llava.eval.merge
        if not self.replaces:
            if len(content) != len(whole):
                self._file.truncate(len(whole))
            self.settings = self.settings if before is None else self.settings | before
            if before is None or before != self.settings:
                write_settings(self.path, self.settings)

    def _settings_before(self, needed: bool) -> dict[str, Any] | None:
        """The settings of the run that is continued; None where nothing is."""
        if self.replaces or (not needed and (self.overwrite or not path_of(self.path).exists())):
            return None
        if not path_of(self.path).exists():
            raise InputError(
                f"answers are continued only with the settings they were begun with: '{self.path}' has no "
                f"{path_of(self.path).name}; use --overwrite to start anew, or another file"
            )
        try:
            before = read_settings(self.path)
        except InputError:
            if needed:
                raise
            return None
        name = difference(before, self.settings)
        if name is None:
            return before
        if not needed:
            return None
        raise InputError(
            f"answers are continued only with the settings they were begun with: '{self.path}' has {name} = "
            f"{told(before.get(name))}, got {told(self.settings.get(name))}; use --overwrite to start anew, or another "
            f"file"
        )

    def _records(self, content: bytes) -> list[dict]:
        records = []
        for number, record in records_in(content):
            if record is None:
                raise InputError(
                    f"answers must be JSON objects, one a line: '{self.path}' line {number} is none; mend it or use "
                    f"--overwrite"
                )
            records.append(record)
        return records

    def _content(self) -> bytes:
        self._file.seek(0)
        return self._file.read()

    def write(self, records: list[dict]) -> None:
        """Append records, in order, and hand them to the operating system at once.

        Raises:
            InputError: when they cannot be written (a full disk); the whole lines before stay. When another program
                has changed the file.
        """
        lines = encoded(records)
        if self.replaces:
            self._begin_anew(lines)
        else:
            self._check_place()
            append(self._file, self.path, lines)
        self._digest.update(lines)
        self._size += len(lines)
        if time.monotonic() - self._synced > FLUSH_TO_DISK_SECONDS:
            self._to_disk()
            self._synced = time.monotonic()

    def _begin_anew(self, lines: bytes) -> None:
        """Put a new file with its first answers where a finished one lay, then its settings.

        Killed in between, it leaves answers without settings, which no run continues by mistake.
        """
        with replacing(path_of(self.path)) as settings, replacing(self.path) as answers:
            for path, content in ((settings, as_text(self.settings).encode()), (answers, lines)):
                with open(path, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            self.held_path.unlink(missing_ok=True)
            path_of(self.path).unlink(missing_ok=True)
        new = open_alone(self.path)
        self._file.close()
        self._file, self.replaces = new, False

    def cut(self, count: int) -> None:
        """Keep the first `count` lines only. The caller has put the others elsewhere."""
        kept = self._content()[: self._size].split(b"\n")[:count]
        whole = b"".join(line + b"\n" for line in kept)
        self._file.truncate(len(whole))
        self.done = self.done[:count]
        self._digest, self._size = hashlib.sha256(whole), len(whole)

    def finish(self) -> list[dict]:
        """The records of the finished file, read back from it.

        Raises:
            InputError: when they are not those that this run found and wrote.
        """
        if self.replaces:  # a run without questions
            self._begin_anew(b"")
        self._check_place()
        content = self._content()
        if hashlib.sha256(content).digest() != self._digest.digest():
            raise self._changed("was changed")
        return self._records(content)

    def note(self, **notes: Any) -> None:
        """Write down in the settings what came of the run, if that is new; None: nothing.

        Raises:
            InputError: when the file is no longer this run's.
        """
        if self.replaces:  # nothing of this run is there yet
            return
        self._check_place()
        if any(self.settings.get(name) != value for name, value in notes.items()) and not self.read_only:
            settings = self.settings | as_written(notes)
            self.settings = {name: value for name, value in settings.items() if name not in notes or value is not None}
            write_settings(self.path, self.settings)

    def _check_place(self) -> None:
        """Refuse to go on in a file that is no longer at its path, or of another length."""
        if not is_at(self.path, self._file):
            raise self._changed("was removed or replaced")
        size = os.fstat(self._file.fileno()).st_size
        if size != self._size:
            raise self._changed("was cut" if size < self._size else "was added to")

    def _changed(self, how: str) -> InputError:
        return InputError(
            f"answers must be left alone while a run writes them: '{self.path}' {how} by another program; put it back, "
            f"or run again, which continues with what is there"
        )

    def _to_disk(self) -> None:
        if self.read_only:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
