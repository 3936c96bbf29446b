"""Answers per second of a server, against the offline runner on the same questions.

They take turns, and each server begins without any picture: as the runner does.
"""

import argparse
import statistics
from typing import Any

from llava.serve.clients import ask, ask_at_once, chat_body
from llava.serve.measures.asked import NAME, questions_of, repeated, server
from llava.serve.measures.offline import Offline

AIM = 0.8


def measure_throughput(args: argparse.Namespace) -> dict[str, Any]:
    """The median over rounds of the runner's time over the server's, and how many answers differ."""
    asked = repeated(questions_of(args, args.pictures), args.requests)
    bodies, offline = [one.body for one in asked], Offline(args)
    offline.answers(asked[:1])
    shares, differing = [], 0
    for _ in range(args.rounds):
        texts, by_runner = offline.answers(asked)
        with server(args) as running:
            ask(running.url, chat_body(NAME, None, "Hello.", max_tokens=1))
            told, by_server = ask_at_once(running.url, bodies, args.clients)
        shares.append(by_runner / by_server)
        differing += sum(one.text != text for one, text in zip(told, texts, strict=True))
    return {
        "clients": args.clients,
        "pictures": args.pictures,
        "questions": len(asked),
        "rounds": args.rounds,
        "share of the runner's answers per second": round(statistics.median(shares), 2),
        "aim, at least": AIM,
        "answers that differ": differing,
    }
