"""A server as a process of its own, for as long as something needs it."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llava.errors import InputError

SECONDS = 300  # for a checkpoint to load and the server to answer


@dataclass(frozen=True)
class RunningServer:
    """Where it answers, and its process."""

    url: str
    pid: int


@contextlib.contextmanager
def server_process(flags: Sequence[str], seconds: float = SECONDS) -> Iterator[str]:
    """The address of a `running_server`."""
    with running_server(flags, seconds) as running:
        yield running.url


@contextlib.contextmanager
def running_server(flags: Sequence[str], seconds: float = SECONDS) -> Iterator[RunningServer]:
    """Start `llava.serve.server` with these flags on a free port of this machine.

    Raises:
        InputError: where it ends or stays silent; what it says of that stands on stderr.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llava.serve.server", *flags, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + seconds
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise InputError("the server did not start; its error stands above")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            time.sleep(0.1)
        yield RunningServer(url, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
