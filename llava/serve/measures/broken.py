"""Requests of which a third is broken, or cut off by the client: what comes of each, and what the server keeps of them.

Every right answer is compared with the offline runner's, every broken request must be refused in a sentence, and at the
end no row, no file descriptor and no memory may be left over.
"""

import argparse
import os
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from llava.errors import InputError
from llava.serve.clients import each_of
from llava.serve.measures.asked import Asked, questions_of, server
from llava.serve.measures.kinds import KINDS, kind_of_request
from llava.serve.measures.offline import Offline

SECONDS = 60  # for rows to be freed once the last client has gone
MARKS = 10  # looks at the server's memory on the way
LOOKS = 30  # at the file descriptors, a tenth of a second apart: the last connections close
WARM = 200  # requests before the first look: what they make the server set up is no leak
GROWTH = 1.05  # of memory, from the first half's end to the last request, that still is flat


def measure_broken(args: argparse.Namespace) -> dict[str, Any]:
    """How many of each kind, lost and wrong ones, and what was left over.

    Raises:
        InputError: where there is no /proc to see the server's file descriptors in.
    """
    if not Path("/proc/self/fd").is_dir():
        raise InputError("leaks are counted in /proc: this machine has none; measure on Linux")
    asked = questions_of(args, args.pictures)
    texts = Offline(args).answers(asked)[0]
    with server(args, "--prefix-memory", str(args.prefix_memory)) as running:
        everything = list(zip(asked, texts))
        barrage(running.url, everything, WARM, args.clients, 0)
        settle(running.url)
        descriptors, memory, outcomes = quiet_files(running.pid), [resident(running.pid)], Counter[str]()
        for mark in range(MARKS):
            first, last = (args.requests * number // MARKS for number in (mark, mark + 1))
            outcomes += barrage(running.url, everything, last - first, args.clients, WARM + first)
            memory.append(resident(running.pid))
        rows = settle(running.url)
        left = quiet_files(running.pid) - descriptors
    return {
        "requests": args.requests,
        "clients": args.clients,
        "answered as the runner": outcomes["right"],
        "broken and refused": outcomes["refused"],
        "cut off by the client": outcomes["cut"],
        "wrong": outcomes["wrong"],
        "lost": outcomes["lost"],
        "rows left": rows,
        "file descriptors left": left,
        "resident memory, MiB": [round(one / 2**20) for one in memory],
        "memory is flat": memory[-1] <= GROWTH * memory[MARKS // 2],
    }


def barrage(url: str, asked: list[tuple[Asked, str]], count: int, clients: int, first: int) -> Counter[str]:
    """Send requests `first` and so on; how many came out as `right`, `refused`, `cut`, `wrong` and `lost`.

    Args:
        asked: questions with the runner's answers.
    """
    outcomes: list[str] = ["lost"] * count

    def send(number: int) -> None:
        at = first + number
        one, text = repeated_at(asked, at)
        kind = kind_of_request(at)
        outcomes[number] = KINDS[kind](url, one, text)

    each_of(range(count), send, clients)
    return Counter(outcomes)


def repeated_at(asked: list[tuple[Asked, str]], number: int) -> tuple[Asked, str]:
    """The question of a request: neighbours ask about other pictures."""
    return asked[number * 7 % len(asked)]


def settle(url: str) -> int:
    """Answers still being made or waited for once everybody has gone; 0 within a minute, or what is left then."""
    deadline = time.monotonic() + SECONDS
    while (rows := busy_rows(url)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows


def busy_rows(url: str) -> int:
    """Running and waiting answers, as the server counts them."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = response.read().decode().splitlines()
    wanted = ("visiondrop_running ", "visiondrop_waiting ")
    return int(sum(float(line.split()[1]) for line in lines if line.startswith(wanted)))


def open_files(pid: int | str) -> int:
    """File descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def quiet_files(pid: int | str, looks: int = LOOKS) -> int:
    """File descriptors of a process once nothing is said any more: the fewest of so many looks."""
    counts = []
    for _ in range(looks):
        counts.append(open_files(pid))
        time.sleep(0.1)
    return min(counts)


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
