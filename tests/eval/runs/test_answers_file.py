"""An answers file and what lies beside it, without a model: whoever else touches them, nothing is lost or mixed."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import records

from llava.errors import InputError
from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.ordered import OrderedAnswers
from llava.eval.runs.questions import Question

ASKED = [Question("here", "Is it?", None, {"question_id": at, "prompt": "Is it?"}, {"round": 0}) for at in range(6)]
SETTINGS = {"answers": 6, "method": "none"}
HOLDER = (
    "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


def given(at: int, text: str = "yes") -> dict[str, Any]:
    """An answer to question `at`."""
    return ASKED[at].head | {"text": text} | ASKED[at].tail | {"answer_id": "a", "model_id": "m", "metadata": {}}


def begun(path: Path, *answered: int, text: str = "yes", overwrite: bool = False, **changes: Any) -> None:
    """A run that ends after some answers."""
    with AnswersFile(str(path), SETTINGS | changes, overwrite) as file:
        answers = OrderedAnswers(file, ASKED)
        for at in answered:
            answers.add({at: given(at, text)})


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that lies there."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(path: Path, says: str, **how: Any) -> None:
    """The run is refused in one line."""
    with pytest.raises(InputError) as caught:
        begun(path, **how)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_overwriting_leaves_everything_until_the_first_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0, 1, 4)
    before = contents(tmp_path)
    assert sorted(before) == ["a.jsonl", "a.jsonl.held.jsonl", "a.jsonl.settings.json"]
    begun(path, overwrite=True, method="visiondrop")  # fails before it has answered anything
    assert contents(tmp_path) == before
    begun(path, 0, overwrite=True, method="visiondrop", text="no")
    after = contents(tmp_path)
    assert sorted(after) == ["a.jsonl", "a.jsonl.settings.json"] and json.loads(after["a.jsonl"])["text"] == "no"
    assert json.loads(after["a.jsonl.settings.json"])["method"] == "visiondrop"
    begun(path, 1, 2, method="visiondrop")
    assert [record["text"] for record in records(path)] == ["no", "yes", "yes"]


def test_overwriting_begins_with_answers_that_wait(tmp_path: Path) -> None:
    """The first question's picture cannot be read: its batch's other answers are the first of the new file."""
    path = tmp_path / "a.jsonl"
    begun(path, 0, 1, 4)
    begun(path, 2, 3, overwrite=True, text="no")
    assert path.read_bytes() == b"" and Path(f"{path}.held.jsonl").read_bytes().count(b"\n") == 2
    begun(path, 0, 1)
    assert [record["text"] for record in records(path)] == ["yes", "yes", "no", "no"]


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


def test_rights_and_links_are_kept_when_overwriting(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there/real.jsonl", tmp_path / "a.jsonl"
    link.symlink_to(real)
    begun(link, 0, 1)
    real.chmod(0o640)
    begun(link, 0, overwrite=True)
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640 and len(records(real)) == 1


FOREIGN = [
    b"garbage", b"", b"[1]", b"3", b"{}", b'{"number": 4}', b'{"number": 4, "record": 3}',
    b'{"number": ' + b"9" * 5000 + b"}",
    b'{"number": 400, "record": {}}', b'{"number": -1, "record": {}}', b'{"number": true, "record": {}}', b"\xff\xfe",
    b'{"number": 1.0, "record": {}}', b'{"number": 4, "record": {"question_id": 4, "prompt": "Is it?", "round": 0}}',
    json.dumps({"number": 4, "record": given(5)}).encode(),
    json.dumps({"number": 4, "record": given(4) | {"text": 3}}).encode(),
    b"[" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("line", FOREIGN, ids=range(len(FOREIGN)))
def test_foreign_lines_beside_are_answered_again_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture, line: bytes
) -> None:
    path, held = tmp_path / "a.jsonl", tmp_path / "a.jsonl.held.jsonl"
    begun(path, 0, 3, 5)
    good = held.read_bytes()
    held.write_bytes(line + b"\n" + good)
    with AnswersFile(str(path), SETTINGS) as file:
        assert OrderedAnswers(file, ASKED).known == {0, 3, 5}
    assert capsys.readouterr().err.startswith(
        f"WARNING: 1 lines of '{held}' are no answers of this run; what is missing"
    )
    assert held.read_bytes() == good
    begun(path, 1, 2, 4)
    assert capsys.readouterr().err == "" and len(records(path)) == 6 and not held.exists()


def test_beside_lies_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0)
    os.mkfifo(f"{path}.held.jsonl")
    refused(path, "answers that wait for their turn must be a file")


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_damaged_settings_are_one_line_with_the_remedy(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0)
    Path(f"{path}.settings.json").write_bytes(damaged)
    before = contents(tmp_path)
    refused(path, "a settings file must be")
    assert contents(tmp_path) == before
    begun(path, 0, 1, overwrite=True)
    assert len(records(path)) == 2


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_answers_go_to_a_file(tmp_path: Path, kind: str) -> None:
    path = {"device": Path("/dev/null"), "pipe": tmp_path / "pipe", "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    for _ in range(2):
        refused(
            path, f"an answers file must be a file: '{path}' is a {'folder' if kind == 'folder' else 'pipe, device'}"
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


def test_a_finished_run_in_a_folder_without_rights_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0, 1)

    def refuse(name: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(name))

    monkeypatch.setattr("llava.eval.runs.answers.open_alone", refuse)
    refused(path, f"answers must be written: '{path}' cannot be (Read-only file system)")
    monkeypatch.undo()
    begun(path, *range(6))
    before = contents(tmp_path)
    monkeypatch.setattr("llava.eval.runs.answers.open_alone", refuse)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: pytest.fail("something is removed"))
    monkeypatch.setattr(os, "replace", lambda *_, **__: pytest.fail("something is written"))
    with AnswersFile(str(path), SETTINGS) as file:
        assert OrderedAnswers(file, ASKED).done == 6 and len(file.finish()) == 6
        file.note(skipped=None)
    refused(path, "(Read-only file system)", overwrite=True)
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


def test_the_note_of_a_failure_goes_when_the_chunk_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Path(f"{path}.failed").write_text("error: a chunk failed\n")
    begun(path, 0)
    assert not Path(f"{path}.failed").exists()


def test_a_line_without_text_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    begun(path, 0)
    path.write_text('{"question_id": 0, "prompt": "Is it?"}\n')
    refused(path, "line 1 has text None, expected 'a text'; use --overwrite")
