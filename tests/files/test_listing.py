"""Folders are listed without names that begin with a dot, and files that are no text are called by their kind."""

from pathlib import Path

import pytest

from llava.errors import InputError
from llava.files.reading import files_in, read_text


def test_names_that_begin_with_a_dot_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.txt", ".DS_Store", "._a.json"):
        (tmp_path / name).touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "d.json").mkdir()
    assert [path.name for path in files_in(tmp_path)] == ["a.json", "b.json", "c.txt", "d.json"]
    assert [path.name for path in files_in(tmp_path, "*.json")] == ["a.json", "b.json", "d.json"]


@pytest.mark.parametrize("path", ["nowhere", "file", "a\0b"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a folder must be there: "):
        files_in(tmp_path / path)


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"PK\x03\x04", "a zip file, as Excel's"), (b"\x1f\x8b", "gzip file; unpack it"), (b"PAR1", "a Parquet file")],
)
def test_what_is_no_text_is_called_by_its_kind(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "x").write_bytes(start + b"\xff" * 9)
    with pytest.raises(InputError, match=f"an answers file must be UTF-8 text: .* is .*{kind}"):
        read_text(tmp_path / "x", "an answers file")
