"""Measure a server under load, with HTTP clients: what batching and sharing pictures give, and what a newcomer waits.

    python -m llava.serve.load --retain 28

Three servers are started one after the other on the same model: one that answers one request at a time and keeps no
picture, one that does both, and the second again for newcomers. All figures are ratios of this one run.
"""

import argparse
import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from llava.eval.files import read_jsonl
from llava.eval.runs.command import Parser, at_least, run
from llava.eval.runs.loading import TRAINED, check_trained
from llava.serve.clients import ask, ask_at_once, chat_body
from llava.serve.starting import server_process

QUESTIONS = "playground/shapes/questions.jsonl"
IMAGES = "playground/shapes/images"


@contextlib.contextmanager
def server(args: argparse.Namespace, *flags: str) -> Iterator[str]:
    """A server of its own process while the block runs; yields its address."""
    method = ["--method", args.method] + (["--retain", str(args.retain)] if args.retain else [])
    with server_process(["--model-path", args.model_path, *method, "--served-model-name", "m", *flags]) as url:
        yield url


def requests_of(args: argparse.Namespace) -> list[bytes]:
    """The first questions about the first pictures of a question file, as many of each as asked for."""
    rows = read_jsonl(args.question_file, ("image", "text"), "a question file", ("image", "text"))
    chosen = dict.fromkeys(row["image"] for _, row in rows)
    pictures = list(chosen)[: args.pictures]
    asked = [row for _, row in rows if row["image"] in pictures]
    bodies = [
        chat_body("m", Path(args.image_folder) / row["image"], row["text"], max_tokens=args.max_new_tokens)
        for row in asked
    ]
    return [bodies[number % len(bodies)] for number in range(args.requests)]


def newcomers(url: str, args: argparse.Namespace, long: bytes, short: list[bytes]) -> float:
    """The median time to a newcomer's first token while `args.running` long answers are being made."""
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            ask(url, long)

    threads = [threading.Thread(target=keep_asking) for _ in range(args.running)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1.0 if threads else 0)
        return statistics.median(ask(url, body).first for body in short)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def measure(args: argparse.Namespace) -> dict[str, object]:
    """The figures, by name."""
    bodies = requests_of(args)
    with server(args, "--max-rows", "1", "--prefix-memory", "0") as url:
        ask(url, bodies[0])
        alone, slow = ask_at_once(url, bodies, args.clients)
    with server(args) as url:
        ask(url, bodies[0])
        together, fast = ask_at_once(url, bodies, args.clients)
        long = chat_body("m", None, "Tell me everything. " * 3, max_tokens=args.long, temperature=1.0)
        short = bodies[1 : 1 + args.newcomers]
        none = argparse.Namespace(**vars(args) | {"running": 0})
        idle, busy = newcomers(url, none, long, short), newcomers(url, args, long, short)
    differing = sum(one.text != other.text or other.status != 200 for one, other in zip(alone, together))
    return {
        "requests": len(bodies),
        "clients": args.clients,
        "pictures": args.pictures,
        "answers per second against one at a time without sharing": round(slow / fast, 2),
        "answers that differ": differing,
        "first token of a newcomer, busy against idle": round(busy / idle, 2),
        "answers running meanwhile": args.running,
        "cores": os.cpu_count(),
    }


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.serve.load", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model-path", default=TRAINED, help="checkpoint; unset: the small model of the shapes")
    parser.add_argument("--method", default="visiondrop", help="how image tokens are reduced")
    parser.add_argument("--retain", type=at_least(1), help="average image tokens per LLM layer")
    parser.add_argument("--question-file", default=QUESTIONS, help="JSON lines with image and text")
    parser.add_argument("--image-folder", default=IMAGES, help="what image names are relative to")
    parser.add_argument("--requests", type=at_least(1), default=192, help="to be answered")
    parser.add_argument("--clients", type=at_least(1), default=32, help="that ask at once")
    parser.add_argument("--pictures", type=at_least(1), default=8, help="that they ask about")
    parser.add_argument("--running", type=at_least(0), default=16, help="long answers while newcomers come")
    parser.add_argument("--newcomers", type=at_least(1), default=15, help="of which the median is told")
    parser.add_argument("--long", type=at_least(1), default=200, help="tokens of a long answer")
    parser.add_argument("--max_new_tokens", type=at_least(1), default=8, help="tokens of the others at most")
    args = parser.parse_args()
    check_trained(args.model_path)
    figures = measure(args)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    run(main)
