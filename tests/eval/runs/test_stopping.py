"""Real processes that are told to stop or are killed: one line, and a restart at once goes on."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import call, loader_flags, questions, records

from llava import interrupts

ROOT = Path(__file__).parents[3]
LOADER = [sys.executable, "-m", "llava.eval.model_vqa_loader"]


def start(arguments: list[object], output: Path) -> subprocess.Popen:
    """A command in a process and a session of its own, what it says in a file."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with open(output, "wb") as file:
        return subprocess.Popen(
            [str(argument) for argument in arguments], env=environment, stdout=file, stderr=file, start_new_session=True
        )


def wait_for_answers(path: Path, process: subprocess.Popen, more_than: int = 0) -> None:
    """Until a run has written so many answers, or has ended."""
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") <= more_than):
        time.sleep(0.01)


def last_line(output: Path) -> str:
    """What a command said last, its progress bar left out."""
    return [line for line in output.read_text().replace("\r", "\n").split("\n") if "question" not in line and line][-1]


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_run_is_continued_at_once_though_its_readers_live(tmp_path: Path) -> None:
    questions(tmp_path, 400)
    path, output = tmp_path / "answers/a.jsonl", tmp_path / "output.txt"
    command = [*LOADER, *loader_flags(tmp_path, "--num-workers", 2, "--retain", 32, "--max_new_tokens", 1)]
    first = start(command, output)
    wait_for_answers(path, first)
    readers = children(first.pid)
    assert len(readers) >= 2
    first.kill()
    first.wait()
    assert [reader for reader in readers if Path(f"/proc/{reader}").exists()], "no reader outlived the run"
    answered = path.read_bytes().count(b"\n")
    second = start(command, output)
    wait_for_answers(path, second, answered)
    assert second.poll() is None, output.read_text()
    os.killpg(second.pid, signal.SIGTERM)
    assert second.wait(timeout=15) == 143
    # The readers that outlived the first run may find out late that they have no parent, and say so behind it.
    assert "error: told to stop; what was written so far is kept" in output.read_text().splitlines()
    assert path.read_bytes().count(b"\n") > answered


@pytest.mark.slow
@pytest.mark.long
def test_a_run_whose_reader_is_ended_says_so(tmp_path: Path) -> None:
    questions(tmp_path, 400)
    path, output = tmp_path / "answers/a.jsonl", tmp_path / "output.txt"
    command = [*LOADER, *loader_flags(tmp_path, "--num-workers", 1, "--retain", 32)]
    run = start(command, output)
    wait_for_answers(path, run)
    for reader in children(run.pid):
        if b"resource_tracker" not in Path(f"/proc/{reader}/cmdline").read_bytes():
            os.kill(reader, signal.SIGKILL)
    assert run.wait(timeout=30) == 2
    assert last_line(output).startswith("error: processes that read pictures must not be ended: one was (DataLoader")


def wait_for_handler(pid: int) -> None:
    """Until a process has its own way of taking SIGTERM, which a command sets as it begins."""
    for _ in range(600):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)
    raise AssertionError("no handler after half a minute")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_waiting(tmp_path: Path, number: signal.Signals) -> None:
    """A command that has begun: here the merging of chunks that never come."""
    output = tmp_path / "output.txt"
    command = [
        sys.executable,
        "-m",
        "llava.eval.merge",
        "--wait",
        600,
        "--answers-file",
        tmp_path / "m",
        tmp_path / "c",
    ]
    process = start(command, output)
    wait_for_handler(process.pid)
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    said = {signal.SIGTERM: "told to stop", signal.SIGINT: "interrupted"}[number]
    assert output.read_text() == f"error: {said}; what was written so far is kept\n"


@pytest.mark.parametrize("after", [0.2, pytest.param(0.5, marks=pytest.mark.long)])
def test_ctrl_c_while_importing_is_one_line(tmp_path: Path, after: float) -> None:
    output = tmp_path / "output.txt"
    for _ in range(3):
        process = start([*LOADER, *loader_flags(tmp_path)], output)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        # torch's C++ parts abort where an interrupt comes between two of their calls, which no Python can change.
        if process.wait(timeout=30) != -signal.SIGABRT:
            break
    assert process.returncode in (-signal.SIGINT, 130, 2)
    assert output.read_text().count("\n") <= 1 and "Traceback" not in output.read_text()


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    interrupts.end_in_one_line()
    interrupts.begun()
    assert signal.getsignal(signal.SIGINT) is not interrupts._end
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "error: interrupted; nothing was begun\n"
    sys.excepthook(ValueError, ValueError("a bug"), None)
    assert "ValueError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["closed", "full"])
def test_an_output_that_takes_nothing_is_one_line(tmp_path: Path, stream: str) -> None:
    (tmp_path / "results/x").mkdir(parents=True)
    record = {
        "benchmark": "pope",
        "metric": "m",
        "score": 1,
        "method": "none",
        "tokens": 9,
        "model": "m",
        "settings": {},
    }
    (tmp_path / "results/x/pope.json").write_text(json.dumps(record))
    command = [sys.executable, "-m", "llava.eval.report", "--results", str(tmp_path / "results")]
    if stream == "full":
        with open("/dev/full", "wb") as out:
            done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    else:
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as out:
            done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


KILLS = int(os.environ.get("KILLS", "8"))


@pytest.mark.slow
@pytest.mark.long
def test_random_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Killed at any moment, imports and loading among them; KILLS=100 for a long try. Reader processes run beside."""
    chance = random.Random(20261125)
    lines = [
        {"question_id": at, "image": f"{chance.randrange(4)}.png", "text": f"What is it? {at}"}
        for at in range(12 * KILLS)
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = loader_flags(tmp_path, "--retain", 32, "--batch-size", 3, "--num-workers", 1, "--max_new_tokens", 1)
    assert call("model_vqa_loader", capsys, *flags, "--answers-file", tmp_path / "whole.jsonl").code == 0
    path, output, kills = tmp_path / "a.jsonl", tmp_path / "output.txt", 0
    while kills < KILLS:
        process = start([*LOADER, *flags, "--answers-file", path], output)
        begun = path.read_bytes().count(b"\n") if path.exists() else 0
        if chance.random() < 0.8:  # most while they write, the others anywhere
            wait_for_answers(path, process, begun)
            time.sleep(chance.uniform(0, 0.1))
        else:
            time.sleep(chance.uniform(0, 4))
        assert process.poll() is None, f"the run was over before it was killed: {output.read_text()}"
        process.kill()
        process.wait()
        kills += 1
        assert not path.exists() or path.read_bytes().count(b"\n") >= begun
    last = start([*LOADER, *flags, "--answers-file", path], output)
    assert last.wait() == 0, output.read_text()
    without_ids = [
        re.sub(rb'"answer_id": "\w{22}"', b"", (tmp_path / name).read_bytes()) for name in ("a.jsonl", "whole.jsonl")
    ]
    assert without_ids[0] == without_ids[1]
    assert len({record["answer_id"] for record in records(path)}) == 12 * KILLS
    assert sorted(name.name for name in tmp_path.glob("a.jsonl*")) == ["a.jsonl", "a.jsonl.settings.json"]
