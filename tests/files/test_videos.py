"""Opening videos: the frames that were asked for and no others, and what is no video is one clear line."""

import io
import os
import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from films import LOSSLESS, LOSSY, greys, write_film, write_sound
from PIL import Image

from llava.errors import InputError
from llava.files import films, pictures, sampling
from llava.files.sampling import frame_numbers
from llava.files.videos import open_video

FORMS = [*LOSSLESS, *LOSSY]


def levels(frames: list[Image.Image]) -> list[int]:
    """The grey of each frame."""
    assert all(frame.mode == "RGB" for frame in frames)
    return [int(np.asarray(frame)[0, 0, 0]) for frame in frames]


def refused(path: Path, frames: int = 4) -> str:
    """What is said about a video, one line that names it."""
    with pytest.raises(InputError) as raised:
        open_video(path, frames)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("total", "frames", "numbers"),
    [
        (10, 4, [0, 3, 6, 9]),
        (100, 8, [0, 14, 28, 42, 56, 70, 84, 99]),
        (30, 5, [0, 7, 14, 21, 29]),
        (7, 7, [0, 1, 2, 3, 4, 5, 6]),
        (9, 2, [0, 8]),
        (9, 1, [0]),
    ],
)
def test_frames_are_evenly_spaced_as_in_llava_next(total: int, frames: int, numbers: list[int]) -> None:
    assert frame_numbers(total, frames) == numbers


def test_too_few_frames_are_repeated_by_the_rule_and_that_is_said() -> None:
    with pytest.warns(UserWarning, match="fewer frames than asked for, 2 of 4: frames are repeated"):
        assert frame_numbers(2, 4) == [0, 0, 0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame_numbers(4, 4)


@pytest.mark.parametrize(("ending", "codec", "pixels"), LOSSLESS)
def test_what_is_stored_without_loss_comes_back_exactly(tmp_path: Path, ending: str, codec: str, pixels: str) -> None:
    chance = np.random.default_rng(0)
    frames = [chance.integers(0, 256, (24, 32, 3), np.uint8) for _ in range(11)]
    path = write_film(tmp_path / f"a.{ending}", frames, codec, pixels)
    for count in (1, 2, 5, 11):
        found = open_video(path, count)
        wanted = [frames[number] for number in np.linspace(0, 10, count, dtype=int)]
        assert all(np.array_equal(np.asarray(one), other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize(("ending", "codec", "pixels"), LOSSY)
def test_every_frame_has_its_own_number_whatever_the_codec_reorders(
    tmp_path: Path, ending: str, codec: str, pixels: str
) -> None:
    path = write_film(tmp_path / f"a.{ending}", greys(29), codec, pixels, b="4000000")
    for count in (29, 8, 3):
        wanted = [8 * number for number in np.linspace(0, 28, count, dtype=int)]
        assert np.abs(np.subtract(levels(open_video(path, count)), wanted)).max() < 4


def test_a_films_name_is_never_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film = write_film(tmp_path / "a.mkv", greys(4)).read_bytes()
    for name in (b"concat:a.mkv|b.mkv", b"pipe:0", b"file:a.mkv", b"a%d.mkv", b"\xff.mkv", b"-y"):
        Path(os.fsdecode(name)).write_bytes(film)
        assert levels(open_video(Path(os.fsdecode(name)), 4)) == [0, 8, 16, 24]


def test_a_film_of_fewer_frames_repeats_them(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", greys(3))
    with pytest.warns(UserWarning, match="3 of 8"):
        assert levels(open_video(path, 8)) == [0, 0, 0, 0, 8, 8, 8, 16]


def test_only_chosen_frames_become_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mkv", greys(30))
    checked: list[tuple] = []
    monkeypatch.setattr(films, "check_size", lambda *size: checked.append(size))
    assert levels(open_video(path, 4)) == [0, 72, 152, 232]
    assert len(checked) == 1 + 4  # the container's word, and the chosen frames


def test_packets_that_are_no_frames_are_found_out_by_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mkv", greys(10))
    for guess in (7, 13):
        monkeypatch.setattr(films, "_count", lambda *_, guess=guess: guess)
        assert levels(open_video(path, 4)) == [0, 24, 48, 72]


@pytest.mark.parametrize(("form", "mode"), [("GIF", "L"), ("WEBP", "RGB"), ("PNG", "RGB")])
def test_animated_pictures_are_videos(tmp_path: Path, form: str, mode: str) -> None:
    stored = [Image.fromarray(frame).convert(mode) for frame in greys(10)]
    path = tmp_path / f"a.{form.lower()}"
    lossless = {"lossless": True} if form == "WEBP" else {}
    stored[0].save(path, form, save_all=True, append_images=stored[1:], duration=100, **lossless)
    assert levels(open_video(path, 4)) == [0, 24, 48, 72]


def test_a_folder_of_frames_goes_by_the_numbers_in_its_names(tmp_path: Path) -> None:
    for number, frame in enumerate(greys(12)):
        Image.fromarray(frame).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".DS_Store").write_text("neither")
    assert levels(open_video(tmp_path, 12)) == [8 * number for number in range(12)]
    assert levels(open_video(tmp_path, 4)) == [0, 24, 56, 88]


class Terminal(io.StringIO):
    """Stderr of a person."""

    def isatty(self) -> bool:
        return True


def test_decoding_shows_a_bar_where_it_is_asked_for_and_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mkv", greys(10))
    for stream, progress, shown in ((Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert levels(open_video(path, 4, progress)) == [0, 24, 48, 72]
        assert ("decoding" in stream.getvalue() and "/10" in stream.getvalue()) == shown
        assert shown or not stream.getvalue()


def test_a_phones_film_is_turned_as_a_player_shows_it(tmp_path: Path) -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :16] = 200  # bright at the left
    path = write_film(tmp_path / "a.mov", [frame] * 3, "png", "rgb24")
    content = path.read_bytes()
    at = content.index(b"tkhd") + 4 + 40  # version 0: flags, times, id, duration, layer, volume; then the matrix
    unit = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert content[at : at + 36] == unit
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)  # clockwise
    path.write_bytes(content[:at] + quarter + content[at + 36 :])
    turned = np.asarray(open_video(path, 2)[0])
    assert turned.shape == (64, 32, 3) and (turned[:16] == 200).all() and (turned[16:] == 0).all()


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "webm", "flv", "mov"])
def test_films_cut_short_are_refused(tmp_path: Path, ending: str) -> None:
    _, codec, pixels = next(form for form in reversed(FORMS) if form[0] == ending)
    # With its index in front, or an MP4 without its end has none and is found out at once.
    options = {"movflags": "faststart"} if ending in ("mp4", "mov") else {}
    chance = np.random.default_rng(0)
    frames = [chance.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(30)]
    path = write_film(tmp_path / f"a.{ending}", frames, codec, pixels, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    assert f"video '{path}' must be a whole film" in refused(path)


def test_damaged_films_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    path = write_film(tmp_path / "a.mkv", greys(30))
    capfd.readouterr()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)
    assert "fetch it again" in refused(path)
    assert capfd.readouterr() == ("", "")  # FFmpeg says nothing beside it


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", greys(10), "libx264", "yuv420p")
    texts = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{film}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile {film.name}\n",
        "list.sdp": "v=0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "text.mp4": "no film at all\n" * 100,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        said = refused(tmp_path / name)
        assert "must be a whole film that FFmpeg decodes (MP4, MKV, WebM, AVI, ...)" in said
        assert said.endswith(": it is none; fetch it again") or name in ("list.sdp", "text.mp4")
    (tmp_path / "empty.mp4").touch()
    assert "must be a whole film" in refused(tmp_path / "empty.mp4")
    assert "does not exist; check the folder of videos" in refused(tmp_path / "nowhere.mp4")
    assert "a video file must be a path: got an address" in refused("https://example.org/a.mp4")  # type: ignore[arg-type]
    assert "must be a file" in refused(Path("/dev/null"))
    (tmp_path / "empty").mkdir()
    assert "the folder has no picture (.jpg" in refused(tmp_path / "empty")


def test_pictures_and_sound_are_called_by_their_names(tmp_path: Path) -> None:
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        Image.new("RGB", (8, 8)).save(tmp_path / "a", form)
        assert f"it is a picture ({form}); give it as an image" in refused(tmp_path / "a")
    for ending, codec in (("m4a", "aac"), ("mkv", "aac")):
        assert "it has no video stream" in refused(write_sound(tmp_path / f"a.{ending}", codec))


def test_cut_animations_are_refused(tmp_path: Path) -> None:
    stored = [Image.effect_noise((40, 40), 9.0 + number) for number in range(10)]
    stored[0].save(tmp_path / "a.gif", save_all=True, append_images=stored[1:])
    content = (tmp_path / "a.gif").read_bytes()
    for length in range(len(content) // 3, len(content) // 3 + 40):
        (tmp_path / "a.gif").write_bytes(content[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert len(open_video(tmp_path / "a.gif", 3)) == 3  # cut between two frames, it is a shorter one
            except InputError as error:
                assert "must be a complete animation that Pillow reads" in str(error)


def test_films_too_large_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mkv", greys(10))
    pixels = 64 * 48
    monkeypatch.setattr(films, "_decode", lambda *_: pytest.fail("decoded"))
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "MOST_PIXELS", pixels - 1)
        assert re.search("must have at most 3,071 pixels: got 64 x 48", refused(path))
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "MOST_KEPT_PIXELS", 4 * pixels - 1)
        assert "must have at most 12,287 pixels in all: got 4 of 64 x 48" in refused(path)
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "MOST_DECODED_PIXELS", 10 * pixels - 1)
        assert "pixels in all its frames: got 10 of 64 x 48" in refused(path)


def test_without_pyav_the_extra_is_named_and_folders_still_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_film(tmp_path / "a.mkv", greys(10))
    monkeypatch.setitem(sys.modules, "av", None)
    assert "needs PyAV to be decoded, which is not installed; pip install 'visiondrop[video]'" in refused(path)
    Image.fromarray(greys(2)[1]).save(tmp_path / "f.png")
    assert levels(open_video(tmp_path, 1)) == [8]
