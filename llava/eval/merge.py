"""Put the answers of several chunks together, once every one of them is whole.

    python -m llava.eval.merge --answers-file merged.jsonl --wait 3600 chunks/4_0.jsonl chunks/4_1.jsonl ...

A chunk that is missing, unfinished or made with other settings is refused by name, so no answer is lost unnoticed.
"""

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llava.errors import InputError, shown
from llava.eval.files import tell_skipped
from llava.eval.runs import tally
from llava.eval.runs.command import Parser, between, run
from llava.eval.runs.settings import difference, path_of, read_settings, told, write_settings
from llava.files.reading import json_lines, read_text
from llava.files.writing import write_text

PER_CHUNK = ("chunk_idx", "answers", "pictures_sha256", "skipped", "questions_counted")
POLL_SECONDS = 2.0
# A note that was there before merging began may be of an earlier start, whose chunk is about to run again and remove
# it. Clocks of several machines cannot tell, so it counts once it has been left alone for so long.
PATIENCE_SECONDS = 30.0
LONGEST_WAIT = 366 * 24 * 3600


def read_whole(answers_file: str) -> list[str]:
    """The lines of a finished chunk.

    Raises:
        InputError: when it holds fewer lines than its settings promise, or a line that is no answer.
    """
    expected = read_settings(answers_file, "answers")["answers"]
    text = read_text(answers_file, "a chunk")
    lines = [f"{line}\n" for line in text.split("\n")[:-1]]
    if len(lines) != expected or not text.endswith("\n" if expected else ""):
        raise InputError(
            f"a chunk must be finished: '{answers_file}' has {len(lines)} whole answers of {shown(expected)}; run it "
            f"again, it continues where it stopped"
        )
    tell_skipped(answers_file, [record for _, record in json_lines(text, answers_file, "a chunk")])
    return lines


def merge(pieces: list[str], merged: str) -> int:
    """Write the answers of `pieces`, in order, to `merged`, with the settings they share. Returns their number.

    Raises:
        InputError: when they are not all chunks of one run, each once and in order, or one is not finished.
    """
    check_apart(pieces, merged)
    settings = [read_settings(piece, "answers") for piece in pieces]
    check_alike(pieces, settings)
    lines = [line for piece in pieces for line in read_whole(piece)]
    shared = {name: value for name, value in settings[0].items() if name not in PER_CHUNK}
    skipped = [one for chunk in settings if isinstance(chunk.get("skipped"), list) for one in chunk["skipped"]]
    path_of(merged).unlink(missing_ok=True)  # so that settings and answers never are of two runs
    write_text(merged, "".join(lines))
    write_settings(merged, shared | tally.together(settings) | ({"skipped": skipped} if skipped else {}))
    return len(lines)


def check_apart(pieces: list[str], merged: str) -> None:
    """Refuse to write over a chunk, and to take one twice."""
    seen: dict[str, str] = {os.path.realpath(merged): "the merged file"}
    for piece in pieces:
        place = os.path.realpath(piece)
        if place in seen:
            raise InputError(f"every chunk is one file: '{piece}' is {seen[place]} as well; name each once")
        seen[place] = f"'{piece}'"


def check_alike(pieces: list[str], settings: list[dict[str, Any]]) -> None:
    """Refuse chunks that were made with other settings, or are not all chunks in order."""
    shared = [{name: value for name, value in one.items() if name not in PER_CHUNK} for one in settings]
    for piece, one in zip(pieces, shared):
        other = difference(shared[0], one)
        if other is not None:
            raise InputError(
                f"chunks must be made with the same settings: '{piece}' has another {other} than '{pieces[0]}' "
                f"({told(one.get(other))}, not {told(shared[0].get(other))}); run it again with --overwrite"
            )
    numbers = [one.get("chunk_idx") for one in settings]
    if numbers != list(range(len(pieces))) or settings[0].get("num_chunks") != len(pieces):
        raise InputError(
            f"all chunks are merged, in order: got {shown(numbers)} of {shown(settings[0].get('num_chunks'))}, "
            f"expected each from 0; name the files of all chunks"
        )


class FailureNotes:
    """Notes of failures, `<piece>.failed`, that a script leaves where a chunk's process has ended badly.

    Args:
        since: seconds of the epoch; a note from then on counts at once.
    """

    def __init__(self, pieces: Iterable[str], since: float) -> None:
        self._notes, self._since = [Path(f"{piece}.failed") for piece in pieces], since
        self._before = {note: _state(note) for note in self._notes}
        self._began = time.monotonic()

    def check(self) -> None:
        """Refuse to wait for a chunk that has failed.

        Raises:
            InputError: for a note that is new, or has been there all the time without its chunk having begun again.
        """
        patient = time.monotonic() - self._began < PATIENCE_SECONDS
        for note in self._notes:
            state = _state(note)
            if state is None or (patient and state == self._before[note] and note.stat().st_mtime < self._since):
                continue
            text = read_text(note, "the note of a chunk's failure").strip().removeprefix("error: ")
            raise InputError(f"every chunk must end well: {text}")


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written anew; None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def main() -> None:
    """The command."""
    parser = Parser(prog="python -m llava.eval.merge", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pieces", nargs="+", help="answers files of all chunks, in order")
    parser.add_argument("--answers-file", required=True, help="the merged file")
    wait = "seconds to wait for chunks that other machines run"
    parser.add_argument("--wait", type=between(0, LONGEST_WAIT), default=0.0, help=wait)
    since = "heed notes of failures from this time on (epoch) at once, older ones after half a minute"
    parser.add_argument("--since", type=between(-math.inf, math.inf), default=math.inf, help=since)
    args = parser.parse_args()
    deadline = time.monotonic() + args.wait
    notes = FailureNotes(args.pieces, args.since)
    while True:
        try:
            count = merge(args.pieces, args.answers_file)
            break
        except InputError:
            notes.check()
            if time.monotonic() >= deadline:
                raise
            time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    print(f"{count} answers in {args.answers_file}")


if __name__ == "__main__":
    run(main)
