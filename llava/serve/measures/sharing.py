"""Many clients about few pictures: with batching and sharing, and one at a time without either."""

import argparse
from typing import Any

from llava.serve.clients import ask, ask_at_once
from llava.serve.measures.asked import questions_of, repeated, server

AIM = 3.0


def measure_sharing(args: argparse.Namespace) -> dict[str, Any]:
    """Answers per second as a ratio, and how many answers were not the same."""
    asked = repeated(questions_of(args, args.pictures), args.requests)
    bodies = [one.body for one in asked]
    with server(args, "--max-rows", "1", "--prefix-memory", "0") as lone:
        ask(lone.url, bodies[0])
        alone, slow = ask_at_once(lone.url, bodies, args.clients)
    with server(args) as running:
        ask(running.url, bodies[0])
        together, fast = ask_at_once(running.url, bodies, args.clients)
    return {
        "clients": args.clients,
        "pictures": args.pictures,
        "requests": len(bodies),
        "times as many answers per second as one at a time without sharing": round(slow / fast, 2),
        "aim, at least": AIM,
        "answers that differ": sum(
            one.text != other.text or other.status != 200 for one, other in zip(alone, together)
        ),
    }
