"""A script that is told to stop, or killed, leaves no process behind."""

import shutil
import signal
import time
from pathlib import Path

import pytest
from stubs import Start, gone, starter


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts scripts in this test's folder."""
    return starter(tmp_path)


@pytest.mark.parametrize("chunks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_script_leaves_no_process(start: Start, tmp_path: Path, number: int, chunks: int) -> None:
    if number == signal.SIGKILL and not shutil.which("setpriv"):
        pytest.skip("nothing here tells a process that its parent is dead")
    script, pids = start("pope", CHUNKS=chunks, SLEEP=60), tmp_path / "calls.pids"
    while not pids.exists() or len(pids.read_text().splitlines()) < chunks:
        time.sleep(0.02)
    script.send_signal(number)
    assert script.wait(timeout=5) == (-number if number == signal.SIGKILL else 128 + number)
    assert gone([int(pid) for pid in pids.read_text().splitlines()])


def test_what_does_not_hear_is_killed(start: Start, tmp_path: Path) -> None:
    script, pids = start("pope", SLEEP=60, DEAF=1), tmp_path / "calls.pids"
    while not pids.exists():
        time.sleep(0.02)
    script.send_signal(signal.SIGTERM)
    assert script.wait(timeout=12) == 143
    assert gone([int(pids.read_text())])
