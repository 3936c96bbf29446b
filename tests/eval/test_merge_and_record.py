"""Chunks put together, and scores kept with what they were made with."""

import errno
import json
import threading
import time
from pathlib import Path

import pytest
from commands import call

from llava.eval import merge as merging
from llava.eval.runs.answers import AnswersFile

SETTINGS = {"model_path": "runs/llava-v1.5-7b", "method": "visiondrop", "settings": {"dominant": 42}}
SETTINGS |= {"average_tokens": 32.0, "num_chunks": 2}


def piece(path: Path, lines: int, promised: int | None = None, **changes: object) -> Path:
    """An answers file of a chunk that should hold `promised` lines."""
    settings = SETTINGS | {"chunk_idx": int(path.stem[-1]), "answers": promised or lines} | changes
    with AnswersFile(str(path), settings) as answers:
        answers.write([{"question_id": f"{path.stem}-{number}"} for number in range(lines)])
    return path


def test_answers_keep_their_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pieces = [piece(tmp_path / f"2_{number}.jsonl", 3) for number in (0, 1)]
    done = call("merge", capsys, *pieces, "--answers-file", tmp_path / "new/merged.jsonl")
    assert done == (0, f"6 answers in {tmp_path}/new/merged.jsonl\n", "")
    assert (tmp_path / "new/merged.jsonl").read_text() == pieces[0].read_text() + pieces[1].read_text()
    kept = json.loads((tmp_path / "new/merged.jsonl.settings.json").read_text())
    assert kept == SETTINGS


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "has no 2_1.jsonl.settings.json; run it"),
        (lambda path: piece(path, 2, promised=3), "has 2 whole answers of 3; run it again, it continues"),
        (lambda path: piece(path, 3, method="none"), "has another method than"),
        (lambda path: piece(path, 3).write_text('{"a": 1}\n{"a": 1}\n{"a'), "has 2 whole answers of 3"),
    ],
)
def test_chunks_that_are_not_whole_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, make: object, complaint: str
) -> None:
    pieces = [piece(tmp_path / "2_0.jsonl", 3), tmp_path / "2_1.jsonl"]
    make(pieces[1])
    done = call("merge", capsys, *pieces, "--answers-file", tmp_path / "merged.jsonl")
    assert done.code == 2 and complaint in done.err and "2_1.jsonl" in done.err
    assert not (tmp_path / "merged.jsonl").exists()


def test_chunks_of_other_machines_are_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = piece(tmp_path / "2_0.jsonl", 1)
    late = threading.Thread(target=lambda: (time.sleep(0.5), piece(tmp_path / "2_1.jsonl", 2)))
    late.start()
    flags = ["--answers-file", tmp_path / "merged.jsonl", "--wait", 30]
    done = call("merge", capsys, first, tmp_path / "2_1.jsonl", *flags)
    late.join()
    assert done.code == 0 and done.out.startswith("3 answers")


def test_a_chunk_that_failed_on_another_machine_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, second = piece(tmp_path / "2_0.jsonl", 1), piece(tmp_path / "2_1.jsonl", 2, promised=3)
    note = Path(f"{second}.failed")
    note.write_text("error: a chunk failed with exit code 1, see LOG: error: no room\n")
    flags = ["--answers-file", tmp_path / "merged.jsonl", "--wait", 60, "--since"]
    done = call("merge", capsys, first, second, *flags, note.stat().st_mtime)
    assert done.code == 2
    assert done.err == "error: every chunk must end well: a chunk failed with exit code 1, see LOG: error: no room"
    # The note of an earlier start counts for nothing: the chunk may be running again.
    late = threading.Thread(target=lambda: (time.sleep(0.5), piece(second, 1, promised=3)))
    late.start()
    done = call("merge", capsys, first, second, *flags, note.stat().st_mtime + 1)
    late.join()
    assert done.code == 0 and done.out.startswith("4 answers")


def test_a_clock_that_is_ahead_does_not_make_merging_wait_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script's machine is an hour ahead, so the notes of the others look old; new ones count at once."""
    monkeypatch.setattr(merging, "POLL_SECONDS", 0.1)
    first, second = piece(tmp_path / "2_0.jsonl", 1), piece(tmp_path / "2_1.jsonl", 2, promised=3)
    flags = ["--answers-file", tmp_path / "merged.jsonl", "--wait", 60, "--since", time.time() + 3600]
    note = Path(f"{second}.failed")
    late = threading.Thread(target=lambda: (time.sleep(0.5), note.write_text("error: no room\n")))
    late.start()
    done = call("merge", capsys, first, second, *flags)
    late.join()
    assert done == (2, "", "error: every chunk must end well: no room")
    monkeypatch.setattr(merging, "PATIENCE_SECONDS", 0.5)  # one that was there already counts after a while
    assert call("merge", capsys, first, second, *flags) == done


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--wait", "nan"], "--wait: must be a number from 0 to"),
        (["--wait", "-1"], "--wait: must be a number from 0 to"),
        (["--wait", "1e400"], "--wait: must be a number from 0 to"),
        (["--since", "nan"], "--since: must be a number from -inf to inf: got 'nan'"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture, flags: list[str], says: str) -> None:
    done = call("merge", capsys, tmp_path / "a", "--answers-file", tmp_path / "m", *flags)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"answers": "3"}', b"{}"])
def test_damaged_settings_are_one_line_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes
) -> None:
    pieces = [piece(tmp_path / f"2_{number}.jsonl", 3) for number in (0, 1)]
    (tmp_path / "2_1.jsonl.settings.json").write_bytes(content)
    scored = ["--benchmark", "pope", "--score", 1, "--answers-file", pieces[1], "--output", tmp_path / "r.json"]
    for done in (
        call("merge", capsys, *pieces, "--answers-file", tmp_path / "m.jsonl"),
        call("record", capsys, *scored),
    ):
        assert done.code == 2 and done.err.startswith("error: a settings file must ") and done.err.count("\n") == 0
    assert not (tmp_path / "m.jsonl").exists() and not (tmp_path / "r.json").exists()


def test_all_chunks_once_and_in_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    zero, one = (piece(tmp_path / f"2_{number}.jsonl", 3) for number in (0, 1))
    (tmp_path / "link.jsonl").symlink_to(zero)
    for pieces, says in (
        ([zero], "all chunks are merged, in order: got [0] of 2"),
        ([one, zero], "all chunks are merged, in order: got [1, 0] of 2"),
        ([zero, zero], f"every chunk is one file: '{zero}' is '{zero}' as well"),
        ([zero, tmp_path / "link.jsonl"], f"link.jsonl' is '{zero}' as well"),
        ([zero, tmp_path / "merged.jsonl"], "merged.jsonl' is the merged file as well"),
    ):
        done = call("merge", capsys, *pieces, "--answers-file", tmp_path / "merged.jsonl")
        assert done.code == 2 and says in done.err
    assert not (tmp_path / "merged.jsonl").exists()


@pytest.mark.parametrize("line", ["3", "[]", "garbage"])
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture, line: str) -> None:
    pieces = [piece(tmp_path / f"2_{number}.jsonl", 3) for number in (0, 1)]
    pieces[1].write_text("{}\n{}\n" + line + "\n")
    done = call("merge", capsys, *pieces, "--answers-file", tmp_path / "merged.jsonl")
    assert done.code == 2 and "2_1.jsonl line 3 is" in done.err


def test_two_merges_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    pieces = [piece(tmp_path / f"2_{number}.jsonl", 200) for number in (0, 1)]
    merged = tmp_path / "out/merged.jsonl"
    many = [threading.Thread(target=merging.merge, args=(list(map(str, pieces)), str(merged))) for _ in range(8)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert merged.read_text() == pieces[0].read_text() + pieces[1].read_text()
    assert sorted(path.name for path in merged.parent.iterdir()) == ["merged.jsonl", "merged.jsonl.settings.json"]


def test_a_full_disk_is_one_line_and_leaves_the_chunks(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [piece(tmp_path / f"2_{number}.jsonl", 3) for number in (0, 1)]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for _ in range(2):
        done = call("merge", capsys, *pieces, "--answers-file", tmp_path / "out/m.jsonl")
        assert done.code == 2 and "No space left on device" in done.err and done.err.count("\n") == 0
        assert list((tmp_path / "out").iterdir()) == []


def test_a_score_is_kept_with_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers = piece(tmp_path / "2_0.jsonl", 1)
    (tmp_path / "pope.txt").write_text('Accuracy: 1\n{"benchmark": "pope", "metric": "mean F1", "score": 86.8}\n')
    flags = ["--scores", tmp_path / "pope.txt", "--answers-file", answers, "--output", tmp_path / "results/x/pope.json"]
    assert call("record", capsys, *flags).code == 0
    assert json.loads((tmp_path / "results/x/pope.json").read_text()) == {
        "benchmark": "pope",
        "metric": "mean F1",
        "score": 86.8,
        "method": "visiondrop",
        "settings": {"dominant": 42},
        "tokens": 32.0,
        "model": "llava-v1.5-7b",
    }


NO_SCORES = ["", "Accuracy: 1\n", '{"score": 3}\n', "[1]\n", "[" * 99999, "9" * 5000]
NO_SCORES += [f'{{"benchmark": "pope", "metric": "m", "score": {score}}}' for score in ("NaN", '"8"', "true", "1e999")]
NO_SCORES += ['{"benchmark": 3, "metric": "m", "score": 3}', '{"benchmark": "pope", "metric": null, "score": 3}']


@pytest.mark.parametrize("text", NO_SCORES, ids=range(len(NO_SCORES)))
def test_output_without_a_score_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture, text: str) -> None:
    answers = piece(tmp_path / "2_0.jsonl", 1)
    (tmp_path / "pope.txt").write_text(text)
    flags = ["--scores", tmp_path / "pope.txt", "--answers-file", answers, "--output", tmp_path / "pope.json"]
    done = call("record", capsys, *flags)
    assert done.code == 2 and "must end in a JSON line with benchmark, metric and score" in done.err


def test_a_servers_score_is_kept_like_ours(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers, output = piece(tmp_path / "2_0.jsonl", 1), tmp_path / "results/x/vqav2.json"
    flags = ["--benchmark", "vqav2", "--score", "77.28", "--answers-file", answers, "--output", output]
    assert call("record", capsys, *flags).code == 0
    record = json.loads(output.read_text())
    assert (record["benchmark"], record["score"], record["method"], record["tokens"]) == (
        "vqav2",
        77.28,
        "visiondrop",
        32.0,
    )
    for wrong in (flags[2:], flags[:2] + flags[4:], [*flags, "--scores", "x.txt"]):
        assert "the score is said by --scores, or by --benchmark and --score" in call("record", capsys, *wrong).err
