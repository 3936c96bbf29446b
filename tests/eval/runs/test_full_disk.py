"""A disk that is full ends a run in one line, and keeps what was answered."""

import errno
import io
import json
import os
from pathlib import Path

import pytest
from answers_files import begun, contents, refused
from commands import records

from llava.errors import InputError
from llava.eval.runs.answers import AnswersFile


def test_a_disk_that_fills_up_while_overwriting_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0, 1, 4)
    before = contents(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left on device"):
            begun(path, 0, overwrite=True)
    assert contents(tmp_path) == before


def test_a_full_disk_is_one_line_at_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        write(self, content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for _ in range(3):
        refused(path, "No space left on device")
        assert contents(tmp_path) == {"a.jsonl": b""}
    monkeypatch.undo()
    begun(path, 0)
    assert len(records(path)) == 1


class FullDisk(io.FileIO):
    """A file that takes all but the last bytes of a line."""

    def write(self, content: memoryview) -> int:
        if len(content) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content[: len(content) - 9])


def test_a_full_disk_keeps_the_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    with AnswersFile(str(path), {"a": 1}) as answers:
        answers.write([{"question_id": 1}])
        with FullDisk(path, "a+") as full, monkeypatch.context() as patch:
            patch.setattr(answers, "_file", full)
            with pytest.raises(InputError, match="cannot be .*No space left on device.*; make room and run again"):
                answers.write([{"question_id": 2}])
    assert path.read_text().startswith(json.dumps({"question_id": 1}) + "\n" + '{"question')
    with AnswersFile(str(path), {"a": 1}) as answers:
        assert answers.done == [{"question_id": 1}]


def test_answers_reach_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AnswersFile(str(path), {}) as answers:
        for number in range(3):
            answers.write([{"question_id": number}])
            assert path.read_text().count("\n") == number + 1
