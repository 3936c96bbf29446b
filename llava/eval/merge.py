"""Put the answers of several chunks together, once every one of them is whole.

    python -m llava.eval.merge --answers-file merged.jsonl --wait 3600 chunks/4_0.jsonl chunks/4_1.jsonl ...

A chunk that is missing, unfinished or made with other settings is refused by name, so no answer is lost unnoticed.
"""

import json
import math
import time
from pathlib import Path

from llava.errors import InputError
from llava.eval.runs.command import Parser, run
from llava.files.reading import read_text
from llava.files.writing import write_text

PER_CHUNK = ("chunk_idx", "answers")
POLL_SECONDS = 2.0


def settings_of(answers_file: str) -> dict:
    """What an answers file was made with."""
    path = Path(f"{answers_file}.settings.json")
    if not path.is_file():
        raise InputError(f"a chunk must have been run: '{answers_file}' has no {path.name}; run it, then merge")
    return json.loads(path.read_text(encoding="utf-8"))


def read_whole(answers_file: str) -> list[str]:
    """The lines of a finished chunk.

    Raises:
        InputError: when it holds fewer lines than its settings promise.
    """
    expected = settings_of(answers_file)["answers"]
    text = read_text(answers_file, "a chunk")
    lines = text.splitlines(keepends=True)
    if len(lines) != expected or (text and not text.endswith("\n")):
        raise InputError(
            f"a chunk must be finished: '{answers_file}' has {text.count(chr(10))} whole answers of {expected}; run it "
            f"again, it continues where it stopped"
        )
    return lines


def merge(pieces: list[str], merged: str) -> int:
    """Write the answers of `pieces`, in order, to `merged`, with the settings they share. Returns their number."""
    shared = [{name: value for name, value in settings_of(piece).items() if name not in PER_CHUNK} for piece in pieces]
    for piece, settings in zip(pieces, shared):
        other = [name for name in settings if settings[name] != shared[0].get(name)]
        if other:
            raise InputError(
                f"chunks must be made with the same settings: '{piece}' has another {other[0]} than '{pieces[0]}'; "
                f"run it again with --overwrite"
            )
    lines = [line for piece in pieces for line in read_whole(piece)]
    write_text(merged, "".join(lines))
    write_text(f"{merged}.settings.json", json.dumps(shared[0], indent=2) + "\n")
    return len(lines)


def check_none_failed(pieces: list[str], since: float) -> None:
    """Refuse chunks whose process has left the note of a failure, `<piece>.failed`, after `since`, seconds of epoch."""
    for piece in pieces:
        note = Path(f"{piece}.failed")
        if note.is_file() and note.stat().st_mtime >= since:
            raise InputError(f"every chunk must end well: {note.read_text(encoding='utf-8').removeprefix('error: ')}")


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.merge", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pieces", nargs="+", help="answers files of all chunks, in order")
    parser.add_argument("--answers-file", required=True, help="the merged file")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for chunks that other machines run")
    parser.add_argument("--since", type=float, default=math.inf, help="heed notes of failures from this time on, epoch")
    args = parser.parse_args()
    deadline = time.monotonic() + args.wait
    while True:
        try:
            count = merge(args.pieces, args.answers_file)
            break
        except InputError:
            check_none_failed(args.pieces, args.since)
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
    print(f"{count} answers in {args.answers_file}")


if __name__ == "__main__":
    run(main)
