"""What LLaVA's servers take from `llava.utils`: logs, moderation, small texts."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llava.logs
import llava.moderation
from llava.errors import InputError
from llava.utils import StreamToLogger, build_logger, pretty_print_semaphore, violates_moderation


@pytest.fixture
def _own_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logs go to tmp_path; streams and the root logger are as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    monkeypatch.setattr(llava.logs, "LOGDIR", str(tmp_path))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(path: Path) -> list[str]:
    """The lines of a log without their times."""
    return [line.partition(" | ")[2] for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_is_logged_and_printed_is_in_the_file_once(_own_logging: None, tmp_path: Path) -> None:
    logger = build_logger("worker", "worker.log")
    assert build_logger("worker", "worker.log") is logger
    child = build_logger("worker.part", "worker.log")
    logger.info("ready")
    child.warning("é")
    logger.debug("not shown")
    sys.stdout.write("printed\nand ")
    sys.stdout.write("more")
    sys.stdout.flush()
    sys.stderr.write("wrong\n")
    assert lines(tmp_path / "worker.log") == [
        "INFO | worker | ready",
        "WARNING | worker.part | é",
        "INFO | stdout | printed",
        "INFO | stdout | and more",
        "ERROR | stderr | wrong",
    ]


def test_a_log_that_cannot_be_written_is_one_line(
    _own_logging: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(llava.logs, "LOGDIR", str(tmp_path / "file"))
    before = sys.stdout
    with pytest.raises(InputError, match=r"file/worker.log' is not \((File exists|Not a directory)\)"):
        build_logger("worker", "worker.log")
    assert sys.stdout is before


def test_a_stream_has_what_the_terminal_has(caplog: pytest.LogCaptureFixture) -> None:
    stream = StreamToLogger(logging.getLogger("stream"))
    assert stream.encoding == sys.stdout.encoding and stream.log_level == logging.INFO
    with caplog.at_level(logging.INFO, "stream"):
        assert stream.write("a  \r\nb") == 6
        assert stream.linebuf == "b"
        stream.flush()
        stream.flush()
    assert caplog.messages == ["a", "b"]


def test_semaphores() -> None:
    async def taken() -> str:
        semaphore = asyncio.Semaphore(1)
        await semaphore.acquire()
        return pretty_print_semaphore(semaphore)

    assert pretty_print_semaphore(None) == "None"
    assert pretty_print_semaphore(asyncio.Semaphore(5)) == "Semaphore(value=5, locked=False)"
    assert asyncio.run(taken()) == "Semaphore(value=0, locked=True)"


def answering(monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception) -> list:
    """The moderation service answers this; what it is sent."""
    sent: list = []

    def urlopen(request: object, timeout: float) -> io.BytesIO:
        sent.append((request, timeout))
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(llava.moderation.urllib.request, "urlopen", urlopen)
    return sent


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    sent = answering(monkeypatch, b"{}")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="no OPENAI_API_KEY and nothing was sent"):
        violates_moderation("text")
    assert sent == []


@pytest.mark.parametrize("flagged", [True, False])
def test_the_service_decides(monkeypatch: pytest.MonkeyPatch, flagged: bool) -> None:
    sent = answering(monkeypatch, json.dumps({"results": [{"flagged": flagged}]}).encode())
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert violates_moderation('a "quoted"\ntext') is flagged
    [(request, timeout)] = sent
    assert json.loads(request.data) == {"input": 'a "quoted"text'} and timeout == 5
    assert request.get_header("Authorization") == "Bearer key" and request.full_url == llava.moderation.ADDRESS


@pytest.mark.parametrize("answer", [OSError("no network"), b"", b"[]", b'{"error": 1}', b'{"results": []}'])
def test_a_service_that_fails_flags_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: bytes | Exception
) -> None:
    answering(monkeypatch, answer)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert violates_moderation("text") is False
    assert "a text was not moderated" in caplog.text
