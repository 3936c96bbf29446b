"""Chunks put together, and scores kept with what they were made with."""

import json
import threading
import time
from pathlib import Path

import pytest
from commands import call

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


@pytest.mark.parametrize("text", ["", "Accuracy: 1\n", '{"score": 3}\n', "[1]\n"])
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
