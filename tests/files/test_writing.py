"""Files are written whole or not at all, and nothing is left where they could not be."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from llava.errors import InputError
from llava.files.writing import replacing, write_bytes, write_text


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_is_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c.txt", "Où?\n")
    write_text(tmp_path / "a/b/c.txt", "again")
    assert content(tmp_path / "a/b") == {"c.txt": b"again"}


def test_half_of_a_surrogate_pair_is_spelt_out(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "b\udcff")
    assert content(tmp_path) == {"a": b"b\\udcff"}


def test_rights_of_what_is_replaced_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    for rights in (0o600, 0o664, 0o755):
        path.chmod(rights)
        write_bytes(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == rights


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/real").write_text("old")
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "new").symlink_to("there/made")
    for link in ("link", "new"):
        write_text(tmp_path / link, link)
        assert (tmp_path / link).is_symlink()
    assert content(tmp_path / "there") == {"real": b"link", "made": b"new"}


def test_a_device_is_written_itself() -> None:
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and not [name for name in os.listdir("/dev") if "part" in name]
    with pytest.raises(InputError, match="'/dev/full' is not .No space left on device"):
        write_text("/dev/full", "no room")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_keeps_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    for name in ("write_bytes", "fsync"):  # on some disks the last call says it first

        def refuse(*_: object) -> None:
            raise OSError(error, os.strerror(error))

        with monkeypatch.context() as patch:
            patch.setattr(*((Path, name, refuse) if name == "write_bytes" else (os, name, refuse)))
            with pytest.raises(InputError, match=f"'{path}' is not .{os.strerror(error)}"):
                write_text(path, "new")
        assert content(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_no_part(tmp_path: Path, stopped: type[BaseException]) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(stopped), replacing(tmp_path / "a") as unfinished:
        Path(unfinished).write_text("half")
        raise stopped
    assert content(tmp_path) == {"a": b"old"}


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, why in (("file/below", "Not a directory|File exists"), ("a" * 300, "File name too long")):
        with pytest.raises(InputError, match=why):
            write_text(tmp_path / path, "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError):
        write_text("/proc/nothing/here", "x")
    assert content(tmp_path / "folder") == {}


def test_writers_at_once_never_meet_and_follow_no_planted_link(tmp_path: Path) -> None:
    """Each writes a name of its own; what stands at the end is whole, of one of them."""
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "a.part").symlink_to("elsewhere")
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a", text)) for text in texts for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts
    assert sorted(content(tmp_path)) == ["a", "a.part", "elsewhere"]
    assert (tmp_path / "elsewhere").read_text() == "untouched"
