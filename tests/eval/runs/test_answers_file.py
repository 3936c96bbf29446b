"""An answers file and what lies beside it, without a model: whoever else touches them, nothing is lost or mixed."""

import errno
import json
import os
from pathlib import Path

import pytest
from answers_files import ASKED, SETTINGS, begun, contents, given, refused
from commands import records

from llava.eval.runs.answers import AnswersFile
from llava.eval.runs.ordered import OrderedAnswers


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
