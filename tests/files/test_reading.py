"""Text and JSON from files that people and other programs wrote: read, or one line that names file and line."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llava.errors import InputError
from llava.files.reading import (
    check_regular,
    file_digest,
    json_lines,
    numbered_lines,
    parse_json,
    read_bytes,
    read_json,
    read_json_object,
    read_text,
    reason,
)

READERS: list[Callable] = [read_bytes, read_text, read_json, read_json_object, file_digest]


def complaint(call: Callable, *arguments: object) -> str:
    """What is said of what cannot be read: one line."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_text_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    for name, start in (("plain", b""), ("bom", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(start + "Où?\r\n\n".encode())
        assert read_text(tmp_path / name, "a file") == "Où?\r\n\n"
    assert read_json_object(write(tmp_path, b'\xef\xbb\xbf{"a": [1, 2.5, null]}'), "a file") == {"a": [1, 2.5, None]}


def write(folder: Path, content: bytes) -> Path:
    """A file of these bytes."""
    path = folder / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, read: Callable) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert complaint(read, tmp_path, "a table") == f"a table must be a file: '{tmp_path}' is a folder; check the path"
    assert "is a pipe, device or socket" in complaint(read, tmp_path / "pipe", "a table")
    assert "is a pipe, device or socket" in complaint(read, "/dev/zero", "a table")
    assert "is not (No such file or directory)" in complaint(read, tmp_path / "gone", "a table")
    assert "is not (Not a directory)" in complaint(read, write(tmp_path, b"") / "below", "a table")
    assert "Too many levels of symbolic links" in complaint(read, tmp_path / "loop", "a table")
    assert "File name too long" in complaint(read, tmp_path / ("a" * 300), "a table")
    assert "null byte" in complaint(read, f"{tmp_path}/a\0b", "a table")


def test_a_name_that_is_no_utf8_is_said_in_printable_signs(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff")
    assert complaint(read_text, path, "a table").isprintable()
    Path(path).write_text("{}")
    assert read_json(path, "a table") == {}


def test_binary_is_no_text(tmp_path: Path) -> None:
    said = complaint(read_text, write(tmp_path, b"ab\xff\xfe"), "a question file")
    assert said.startswith("a question file must be UTF-8 text: ") and "invalid start byte at byte 2" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ('{"a": 1}}', "must be JSON"),
        ("[" * 100_000, "brackets nested too deeply"),
        ('{"a":' * 100_000, "brackets nested too deeply"),
        ("9" * 5000, "must be JSON"),
        ('{"a": ' + "1" * 10_000 + "}", "must be JSON"),
        ("NaN", "NaN is no number in JSON"),
        ('{"a": -Infinity}', "-Infinity is no number in JSON"),
        ("1e999", "the number 1e999 is too large"),
        (r'"\ud83d"', "must hold whole characters"),
        (r'{"\uDE00": 1}', "must hold whole characters"),
        ("\x00", "must be JSON"),
    ],
)
def test_what_is_no_json(text: str, says: str) -> None:
    for given in (text, text.encode()):
        said = complaint(parse_json, given, "a line", "here", "mend it")
        assert says in said and "here" in said and len(said) < 1200


def test_json_keeps_what_it_holds() -> None:
    assert parse_json(r'"\ud83d\ude00 \\ud800"', "a line", "here") == "\N{GRINNING FACE} \\ud800"
    assert parse_json("[1e308, 12345678901234567890123]", "a line", "here") == [
        1e308,
        12345678901234567890123,
    ]
    assert parse_json(b"\xff\xfe1\x00", "a line", "here") == 1  # UTF-16 with its mark, which json reads


def test_objects_alone_are_objects(tmp_path: Path) -> None:
    for text, kind in (
        ("[]", "a JSON array"),
        ("3", "a number"),
        ('"a"', "a text"),
        ("true", "true or"),
        ("null", "null"),
    ):
        said = complaint(read_json_object, write(tmp_path, text.encode()), "a settings file", "run it again")
        assert f"is {kind}" in said and said.endswith("; run it again")


def test_lines_are_numbered_as_an_editor_does() -> None:
    assert list(numbered_lines("a\n\n \t\r\nb\u2028c\n")) == [(1, "a"), (4, "b\u2028c")]
    lines = list(json_lines('{"a": 1}\r\n\n  {"b": 2}\n', "q.jsonl", "a question file"))
    assert lines == [("q.jsonl line 1", {"a": 1}), ("q.jsonl line 3", {"b": 2})]
    assert list(json_lines("\n \n", "q.jsonl", "a question file")) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[\n{}\n]", "q.jsonl line 1 is a JSON array"),
        ('{"a": 1}\n\n[1]', "q.jsonl line 3 is a JSON array"),
        ("{}\n3", "q.jsonl line 2 is a number"),
        ("{}\n{},", "q.jsonl line 2 is none"),
        ('{}\n{"a', "q.jsonl line 2 is none"),
        ("[" * 50_000, "q.jsonl line 1 is a JSON array"),
    ],
)
def test_a_line_that_is_no_object_is_named(text: str, says: str) -> None:
    assert says in complaint(lambda: list(json_lines(text, "q.jsonl", "a question file")))


def test_digest_is_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    assert file_digest(write(tmp_path, content)) == hashlib.sha256(content).hexdigest()


def test_a_file_without_rights_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, b"{}")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "(Permission denied)" in complaint(read_text, path, "a table")


def test_links_lead_to_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path, b"7"))
    check_regular(tmp_path / "link", "a table")
    assert read_json(tmp_path / "link", "a table") == 7


def test_reasons_are_one_line() -> None:
    assert reason(OSError(28, "No space left on device")) == "No space left on device"
    assert reason(ValueError("a\nb")) == "a b" and reason(ValueError()) == "ValueError"
    assert reason(RecursionError("x")) == "brackets nested too deeply"
    assert sys.getrecursionlimit() < 100_000
