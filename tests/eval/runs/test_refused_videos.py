"""Questions about videos that cannot be asked, and videos that cannot be read: one line."""

from pathlib import Path

import pytest
from video_questions import ask_about, run, three_videos

from llava.eval.runs import inputs, llava_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five questions about three videos: two films and a folder of frames."""
    return three_videos(tmp_path)


@pytest.mark.parametrize(
    ("line", "flags", "complaint"),
    [
        ({"text": "a"}, [], "line 1 lacks image; add it"),
        ({"video": "a.mkv"}, [], "line 1 lacks text; add it"),
        ({"video": "a.mkv", "image": "0.png", "text": "a"}, [], "line 1 has both; leave one out"),
        ({"video": 3, "text": "a"}, [], "video in a question file is text: "),
        ({"video": None, "text": "a"}, [], "video in a question file is text: "),
        ({"video": ["a.mkv"], "text": "a"}, [], "video in a question file is text: "),
        ({"video": "c.mkv", "text": "a"}, [], "a question's video must exist: "),
        ({"video": "a.mkv", "text": "a"}, ["--video-folder", "/nowhere"], "'/nowhere/a.mkv' does not"),
        ({"video": "a.mkv", "text": "a <image> b"}, [], "must not hold <image>"),
        ({"video": "a.mkv", "text": "a", "question_id": 1.5}, [], "a question_id is text or a whole number"),
        ({"video": "a.mkv", "text": "a"}, ["--num-frames", 0], "argument --num-frames: must be a whole number"),
        ({"video": "a.mkv", "text": "a"}, ["--mm-newline-position", "x"], "invalid choice: 'x'"),
        ({"video": "a.mkv", "text": "a"}, ["--retain", 3], "must leave fewer tokens at each stage"),
        ({"video": "a.mkv", "text": "a"}, ["--retain", 5000], "got 5000 of 577; lower it"),
        ({"video": "a.mkv", "text": "a"}, ["--num-frames", 60000], "frames that are looked at must have at most"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture, line: dict, flags: list[object], complaint: str
) -> None:
    ask_about(folder, [line])
    done = run(folder, capsys, *flags)
    assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 0
    assert complaint in done.err


@pytest.mark.parametrize("damage", [b"", b"no film", b"\x1aE\xdf\xa3" + bytes(300), b"RIFF" + bytes(40) + b"AVI LIST"])
def test_broken_videos_end_a_run_in_one_line(folder: Path, capsys: pytest.CaptureFixture, damage: bytes) -> None:
    (folder / "videos/a.mkv").write_bytes(damage)
    ask_about(folder, [{"video": "a.mkv", "text": "a"}])
    done = run(folder, capsys)
    assert done.code == 2 and "a.mkv' must be a whole film that FFmpeg decodes" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err and not (folder / "a.jsonl").read_text()


def test_the_schedule_is_checked_before_weights_are_read(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llava_run, "load_model", lambda *_, **__: pytest.fail("weights were read"))
    assert run(folder, capsys, "--retain", 3).code == 2


def test_frames_that_do_not_fit_into_memory_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(inputs, "process_video", too_much)
    done = run(folder, capsys)
    assert done.code == 2 and "must fit into memory" in done.err.splitlines()[-1]
