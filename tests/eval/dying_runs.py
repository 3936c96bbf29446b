"""Runs in processes of their own, to be killed."""

import multiprocessing
import resource
import sys

import torch

from llava.eval import model_vqa_loader
from llava.eval.runs.command import run


def answer(arguments: list[str], output: str, room: int | None = None) -> None:
    """The loader, in a process of its own: what it prints goes to a file. `room`: bytes that any file may have."""
    torch.set_num_threads(1)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    with open(output, "w", encoding="utf-8") as file:
        sys.argv, sys.stdout, sys.stderr = ["model_vqa_loader", *arguments], file, file
        run(model_vqa_loader.main)


def forked() -> multiprocessing.context.ForkServerContext:
    """A server that has imported torch forks the runs: they start at once, and they are real processes to kill."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["llava.eval.model_vqa_loader"])
    return processes
