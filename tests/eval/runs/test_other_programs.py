"""Other programs at an answers file: one run at a time, and what is touched meanwhile is noticed."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from answers_files import ASKED, SETTINGS, begun, contents, given, refused
from commands import records

from llava.errors import InputError
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.ordered import OrderedAnswers

HOLDER = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0)
    before = contents(tmp_path)
    command = [sys.executable, "-IS", "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None and other.stdout.readline()
        refused(path, f"'{path}' is in use")
        refused(path, f"'{path}' is in use", overwrite=True)
        other.stdin.close()
    assert contents(tmp_path) == before
    begun(path, 1)


def test_the_lock_is_held_from_beginning_to_end_and_no_child_has_it(tmp_path: Path) -> None:
    """Reading the file, overwriting it and forking processes that outlive the run neither end the lock nor keep it."""
    path = tmp_path / "a.jsonl"
    probe = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    def is_free() -> bool:
        command = [sys.executable, "-IS", "-c", probe, str(path)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    begun(path, 0)
    read, write = os.pipe()
    with AnswersFile(str(path), SETTINGS, overwrite=True) as file:
        answers = OrderedAnswers(file, ASKED)
        assert not is_free()
        answers.add({0: given(0)})
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the test is over
            os._exit(0)
        assert not is_free()
        answers.add({number: given(number) for number in range(6)})
        assert len(file.finish()) == 6 and not is_free()
    try:
        assert is_free()
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    begun(tmp_path / "a.jsonl", 0, 1)
    said = capsys.readouterr().err
    assert (
        said.startswith("WARNING: the file system of ")
        and said.count("\n") == 1
        and len(records(tmp_path / "a.jsonl")) == 2
    )


def meddle(path: Path, how: str) -> None:
    """What another program does to a file during a run."""
    if how == "removed":
        path.unlink()
    elif how == "replaced":
        (path.parent / "other").write_bytes(path.read_bytes())
        os.replace(path.parent / "other", path)
    elif how == "cut":
        os.truncate(path, path.stat().st_size - 5)
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "added to":
        with open(path, "ab") as file:
            file.write(b"{}\n")
    else:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"yes", b"no!"))


MEDDLING = {
    "removed": "was removed or replaced", "replaced": "was removed or replaced", "cut": "was cut", "emptied": "was cut",
    "added to": "was added to", "changed": "was changed",
}  # fmt: skip


@pytest.mark.parametrize(("how", "says"), MEDDLING.items())
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_file_that_another_program_touches_ends_the_run(
    tmp_path: Path, how: str, says: str, at_the_end: bool
) -> None:
    path = tmp_path / "a.jsonl"
    says = f"'{path}' {says} by another program"
    with pytest.raises(InputError, match=says), AnswersFile(str(path), SETTINGS) as file:
        answers = OrderedAnswers(file, ASKED)
        answers.add({number: given(number) for number in range(6 if at_the_end else 3)})
        meddle(path, how)
        answers.add({number: given(number) for number in range(6)})
        file.finish()
    if how != "added to":  # a foreign line has to be taken out by who put it there
        begun(path, *range(6))
        assert [record["question_id"] for record in records(path)] == list(range(6))
