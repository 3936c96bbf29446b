"""Seeded damage: bytes cut, doubled, swapped and overwritten; JSON values exchanged for ones that nobody expects."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

NASTY_BYTES = (
    *(b"", b"\n", b"\r\n", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b"{", b"}", b"[", b"]", b","),
    *(b"NaN", b"Infinity", b"-1", b"1e999", b"1" * 5000, b"[" * 3000, b"\\ud800", b"\x1b[31m", b"null", b"<image>"),
    *(b"=1+1", b"http://127.0.0.1:9/", b"%!PS-Adobe-3.0 EPSF-3.0\n", "é".encode("latin-1"), "目".encode()),
)
NASTY_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10**30,
        2**63,
        -(2**70),
        1e308,
        "",
        " ",
        "x" * 2000,
        "\n",
        "\t",
        "a\nb",
        "../../x",
    ),
    *(
        "/dev/zero",
        "\0",
        "\x1b[31m",
        "=1+1",
        "<image>",
        "yes",
        "A",
        "目\u2028",
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        [None] * 3,
    ),
)


def damaged(random: Random, content: bytes) -> bytes:
    """The content with one to three wounds."""
    for _ in range(random.randint(1, 3)):
        first, last = sorted(random.randrange(len(content) + 1) for _ in range(2))
        last = min(last, first + random.choice((0, 1, 8, 10**9)))
        new = random.choice(NASTY_BYTES)
        match random.randrange(6):
            case 0:
                new = b""
            case 1:
                new = content[first:last] * 2
            case 2:
                new = bytes(random.randrange(256) for _ in range(random.choice((1, 2, 16))))
            case 3:
                new = content[first:last][::-1]
        content = content[:first] + new + content[last:]
    return content


def exchanged(random: Random, value: Any) -> Any:
    """A JSON value with one of its parts, at any depth, exchanged, taken out, doubled or renamed."""
    if random.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return random.choice(NASTY_VALUES)
    if isinstance(value, list):
        at = random.randrange(len(value))
        new = random.choice(([exchanged(random, value[at])], [], [value[at]] * 2))
        return [*value[:at], *new, *value[at + 1 :]]
    key = random.choice(list(value))
    rest = {name: part for name, part in value.items() if name != key}
    match random.randrange(6):
        case 0:
            return rest
        case 1:
            return rest | {random.choice(("", "id", key.upper(), key + " ")): value[key]}
        case _:
            return {**value, key: exchanged(random, value[key])}


def variants(random: Random, content: bytes, count: int) -> Iterator[bytes]:
    """`count` damaged forms of a file; of JSON and JSON Lines half are whole JSON again."""
    lines = _json_lines(content)
    for _ in range(count):
        if lines is None or random.random() < 0.5:
            yield damaged(random, content)
        else:
            at = random.randrange(len(lines))
            mended = [*lines[:at], exchanged(random, lines[at]), *lines[at + 1 :]]
            yield b"\n".join(json.dumps(line).encode() for line in mended) + b"\n"


def _json_lines(content: bytes) -> list[Any] | None:
    """The values of a JSON Lines file; a JSON file is one line; None for what is neither."""
    for pieces in ([content], content.splitlines()):
        try:
            return [json.loads(piece) for piece in pieces]
        except ValueError:
            continue
    return None
