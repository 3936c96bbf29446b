"""Work in processes of their own that begin with the libraries loaded, alone or as devices that train together."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["llava.train.train"])
DEADLINE = 240  # seconds; what waits for another process longer will wait for ever


def start(work: Callable[..., Any], *arguments: Any, **environment: str) -> BaseProcess:
    """Begin `work` in a process of its own, with as many threads as here: sums have as many parts."""
    process = CONTEXT.Process(target=_begin, args=(work, arguments, torch.get_num_threads(), environment), daemon=True)
    process.start()
    return process


def together(work: Callable[..., Any], *arguments: Any) -> None:
    """Run `work` in two processes that know of each other, as torchrun begins them; both must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pair = [start(work, *arguments, **known, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")]
    for process in pair:
        process.join(DEADLINE)
    ended = [process.exitcode for process in pair]
    for process in pair:
        process.kill()
    assert ended == [0, 0]


def _begin(work: Callable[..., Any], arguments: tuple[Any, ...], threads: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(threads)
    work(*arguments)
