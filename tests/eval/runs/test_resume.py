"""Nothing that was answered is lost: runs that end early, are killed, meet each other, or come back changed."""

import fcntl
import multiprocessing
import random
import re
import signal
import time
from pathlib import Path

import pytest
from commands import call, loader_flags, questions, records, texts
from dying_runs import answer, forked

from llava.eval.runs import llava_run

SEED = 20261124


def without_ids(path: Path) -> bytes:
    """The file but for its random ids."""
    return re.sub(rb'"answer_id": "\w{22}"', b'"answer_id": ""', path.read_bytes())


@pytest.mark.slow
@pytest.mark.long
def test_killed_twenty_times_and_continued(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each run is killed a random while after it has begun to write, so most are hit between or inside two answers."""
    questions(tmp_path, 200)
    common = loader_flags(tmp_path, "--batch-size", 2, "--retain", 32, "--max_new_tokens", 1)
    whole = [*common, "--answers-file", tmp_path / "whole.jsonl", "--batch-size", 8]
    assert call("model_vqa_loader", capsys, *whole).code == 0
    path, chance, lengths = tmp_path / "a.jsonl", random.Random(SEED), [0]
    processes = forked()
    arguments = [str(flag) for flag in (*common, "--answers-file", path)]

    def start() -> multiprocessing.Process:
        process = processes.Process(target=answer, args=(arguments, str(tmp_path / "output.txt")))
        process.start()
        return process

    for _ in range(20):
        process, begun = start(), lengths[-1]
        while process.is_alive() and (not path.exists() or path.read_bytes().count(b"\n") <= begun):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run was over before it was killed; ask more questions"
        lengths.append(path.read_bytes().count(b"\n"))
        assert lengths[-1] > begun
    last = start()
    last.join()
    assert last.exitcode == 0 and f"{lengths[-1]} of them from before" in (tmp_path / "output.txt").read_text()
    assert without_ids(path) == without_ids(tmp_path / "whole.jsonl")
    assert len({record["answer_id"] for record in records(path)}) == 200


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_torn_last_line_is_answered_again(tmp_path: Path, capsys: pytest.CaptureFixture, cut: int) -> None:
    questions(tmp_path, 5)
    flags = loader_flags(tmp_path, "--batch-size", 2)
    call("model_vqa_loader", capsys, *flags)
    path = tmp_path / "answers/a.jsonl"
    whole, wanted = path.read_bytes(), texts(path)
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:cut])
    again = call("model_vqa_loader", capsys, *flags)
    assert again.code == 0 and "5 answers" in again.out and "3 of them from before" in again.out
    assert texts(path) == wanted and path.read_bytes().startswith(b"".join(lines[:3]))


def test_a_finished_run_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions(tmp_path)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    before = (tmp_path / "answers/a.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(llava_run, "load_model", lambda *_, **__: pytest.fail("weights were read"))
        again = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert again.code == 0 and "4 of them from before" in again.out
    assert (tmp_path / "answers/a.jsonl").read_bytes() == before
    anew = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--overwrite"))
    assert "from before" not in anew.out and (tmp_path / "answers/a.jsonl").read_bytes() != before
    assert len(records(tmp_path / "answers/a.jsonl")) == 4


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--retain", 32], "method"),
        (["--max_new_tokens", 5], "max_new_tokens"),
        (["--temperature", 0.5], "temperature"),
        (["--conv-mode", "llava_v1"], "conv_mode"),
        (["--dtype", "bfloat16"], "dtype"),
        (["--num-chunks", 2], "num_chunks"),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: list, name: str
) -> None:
    questions(tmp_path)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    before = (tmp_path / "answers/a.jsonl").read_bytes()
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path, *flags))
    assert outcome.code == 2 and f"has {name} = " in outcome.err and outcome.err.count("\n") == 0
    assert (tmp_path / "answers/a.jsonl").read_bytes() == before


def test_another_batch_size_may_go_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path, 6)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    wanted, path = texts(tmp_path / "answers/a.jsonl"), tmp_path / "answers/a.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--batch-size", 4)).code == 0
    assert texts(path) == wanted


def test_changed_questions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    questions(tmp_path, 6)
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 2 and "has question_file_sha256 = " in outcome.err


def test_answers_of_other_questions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    path = tmp_path / "answers/a.jsonl"
    path.write_text(path.read_text().replace('"q1"', '"q9"'))
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 2 and "line 2 has question_id 'q9', expected 'q1'; use --overwrite" in outcome.err


def test_files_that_are_no_answers_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    notes = tmp_path / "answers/a.jsonl"
    notes.parent.mkdir()
    for content, complaint in (("my notes", "is no answers file"), ("my\nnotes\n", "has no a.jsonl.settings.json")):
        notes.write_text(content)
        outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
        assert outcome.code == 2 and complaint in outcome.err and notes.read_text() == content


def test_two_runs_on_one_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions(tmp_path)
    path = tmp_path / "answers/a.jsonl"
    path.parent.mkdir()
    with open(path, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--overwrite"))
    assert outcome.code == 2 and f"'{path}' is in use" in outcome.err
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path)).code == 0


@pytest.mark.slow
@pytest.mark.long
def test_a_file_that_may_not_grow_ends_the_run_and_is_continued(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As on a full disk, the system takes a part of a line and refuses the rest."""
    questions(tmp_path, 12)
    flags = loader_flags(tmp_path, "--batch-size", 2)
    assert call("model_vqa_loader", capsys, *loader_flags(tmp_path, answers="whole.jsonl")).code == 0
    path, output = tmp_path / "answers/a.jsonl", tmp_path / "output.txt"
    process = forked().Process(target=answer, args=([str(flag) for flag in flags], str(output), 1500))
    process.start()
    process.join()
    assert process.exitcode == 2 and path.stat().st_size == 1500
    assert output.read_text().splitlines()[-1] == (
        f"error: answers must be written: '{path}' cannot be (File too large); make room and run again"
    )
    kept = path.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    again = call("model_vqa_loader", capsys, *flags)
    assert (
        again.code == 0
        and f"{kept.count(10)} of them from before" in again.out
        and path.read_bytes()[: len(kept)] == kept
    )
    assert without_ids(path) == without_ids(tmp_path / "whole.jsonl")


@pytest.mark.parametrize(("line", "number"), [(b"3", 2), (b"\xff\xfe", 2), (b'{"question_id": "q1", "te', 2)])
def test_a_spoilt_line_in_the_middle_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, line: bytes, number: int
) -> None:
    questions(tmp_path)
    call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    path = tmp_path / "answers/a.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]) + b"\n")
    before = path.read_bytes()
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 2 and f"line {number} is none; mend it or use --overwrite" in outcome.err
    assert path.read_bytes() == before
    Path(f"{path}.settings.json").write_text('{"model_path": "a')
    outcome = call("model_vqa_loader", capsys, *loader_flags(tmp_path))
    assert outcome.code == 2 and "a settings file must be JSON" in outcome.err and path.read_bytes() == before
