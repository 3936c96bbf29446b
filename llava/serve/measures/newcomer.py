"""What a newcomer waits for its first token while long answers are being made, against an idle server.

Idle and busy take turns in one run, and times are medians: what else the machine does meets both.
"""

import argparse
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from llava.errors import InputError
from llava.serve.clients import ask, chat_body, pieces
from llava.serve.measures.asked import NAME, Asked, questions_of, server

SECONDS = 300  # for long answers to begin
CALM = 4  # tokens of each long answer before newcomers come: what a step takes by itself
AIM = 2.0  # times an idle server's first token, and one step


def measure_newcomer(args: argparse.Namespace) -> dict[str, Any]:
    """Medians in milliseconds and the ratio, for pictures that the server knows and for such as it has not seen."""
    groups = _by_picture(questions_of(args, 2 * args.newcomers + 1))
    once = [group[0] for group in groups]
    known, new = groups[0], once[1:]
    told: dict[str, Any] = {"answers running meanwhile": args.running}
    with server(args) as running:
        ask(running.url, known[0].body)
        with_new = Turns(running.url, args.running, args.long)
        with_known = Turns(running.url, args.running, args.long)
        for number in range(0, args.newcomers, args.at_once):
            count = min(args.at_once, args.newcomers - number)
            with_known.take([known[at % len(known)] for at in range(number, number + count)] * 2)
            with_new.take(new[2 * number : 2 * (number + count)])
        gaps = statistics.median([*with_new.gaps, *with_known.gaps])
    told["a step with those answers, ms"] = round(1000 * gaps, 1)
    for name, turns in (("known", with_known), ("new", with_new)):
        idle, busy = statistics.median(turns.idle), statistics.median(turns.busy)
        told |= {
            f"{name} picture: first token of an idle server, ms": round(1000 * idle, 1),
            f"{name} picture: first token of a busy one, ms": round(1000 * busy, 1),
            f"{name} picture: busy without one step, against idle": round((busy - gaps) / idle, 2),
        }
    return told | {"aim, at most": AIM}


def _by_picture(asked: list[Asked]) -> list[list[Asked]]:
    groups: dict[str, list[Asked]] = {}
    for one in asked:
        groups.setdefault(str(one.picture), []).append(one)
    return list(groups.values())


@dataclass
class Turns:
    """Newcomers at an idle server and at a busy one in turn; all times in seconds.

    Attributes:
        running: long answers that make it busy, of `long` tokens at most.
        gaps: between two pieces of the long answers, before newcomers came.
    """

    url: str
    running: int
    long: int
    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def take(self, asked: list[Asked]) -> None:
        """The first half of them idle, the second busy."""
        half = len(asked) // 2
        self.idle += [ask(self.url, one.body).first for one in asked[:half]]
        crowd = Crowd(self.url, self.running, self.long)
        try:
            self.gaps += crowd.gaps()
            self.busy += [ask(self.url, one.body).first for one in asked[half:]]
            crowd.check()
        finally:
            crowd.leave()


class Crowd:
    """Clients that listen to long answers, until they go away."""

    def __init__(self, url: str, count: int, tokens: int) -> None:
        self._times: list[list[float]] = [[] for _ in range(count)]
        self._going, self._url = threading.Event(), url
        text = "Tell me everything that you know about shapes. "
        self._body = chat_body(NAME, None, text, max_tokens=tokens, temperature=1.0, ignore_eos=True)
        self._threads = [threading.Thread(target=self._listen, args=(own,)) for own in self._times]
        for thread in self._threads:
            thread.start()

    def _listen(self, times: list[float]) -> None:
        for _ in pieces(self._url, self._body):
            times.append(time.perf_counter())
            if self._going.is_set():
                return

    def gaps(self) -> list[float]:
        """Seconds between two pieces of an answer once every answer has begun."""
        self._wait(1)
        begun = max(map(len, self._times))
        self._wait(begun + CALM)
        return [own[at + 1] - own[at] for own in self._times for at in range(begun, begun + CALM - 1)]

    def _wait(self, count: int) -> None:
        """Until every answer has so many pieces."""
        deadline = time.monotonic() + SECONDS
        while min(map(len, self._times)) < count:
            if time.monotonic() > deadline:
                raise InputError(f"the long answers must begin within {SECONDS} seconds: they do not")
            time.sleep(0.005)

    def check(self) -> None:
        """Refuse a measurement during which a long answer ended."""
        if not all(thread.is_alive() for thread in self._threads):
            raise InputError("the long answers must outlast the newcomers: one ended; give a larger --long")

    def leave(self) -> None:
        """Go away."""
        self._going.set()
        for thread in self._threads:
            thread.join()
