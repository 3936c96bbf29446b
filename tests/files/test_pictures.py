"""Opening pictures: every mode comes out as the colours a person sees, and what is no picture is one clear line."""

import base64
import io
import os
import re
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from llava.errors import InputError
from llava.files import pictures
from llava.files.pictures import FORMATS, check_image, load_image_from_base64, open_image, to_rgb

RAMP = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
SAVED = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif", "PPM": "ppm"}


def red(mode: str) -> Image.Image:
    """A red picture of a mode; one without colours is grey."""
    return Image.new("RGBA", (4, 3), (255, 0, 0, 128)).convert(mode)


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """A grey PNG that says it has so many pixels, of a few hundred bytes if they are of one row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * min(height, 4))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
@pytest.mark.parametrize("form", ["png", "tif"])
def test_grey_of_16_bits_is_that_of_8(tmp_path: Path, kind: str, form: str) -> None:
    wide = Image.fromarray((RAMP.astype(np.uint16) * 257).astype(kind))
    wide.save(tmp_path / f"x.{form}")
    assert np.array_equal(np.asarray(open_image(tmp_path / f"x.{form}")), np.stack([RAMP] * 3, axis=-1))


@pytest.mark.parametrize("most", [255, 1000, 65535])
def test_a_portable_greymap_is_scaled_by_its_own_white(tmp_path: Path, most: int) -> None:
    black_and_white = struct.pack(">HH", 0, most) if most > 255 else bytes([0, most])
    (tmp_path / "x.pgm").write_bytes(f"P5 2 1 {most}\n".encode() + black_and_white)
    assert np.asarray(open_image(tmp_path / "x.pgm")).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("form", ["tif", "pfm"])
def test_grey_whose_white_is_not_known_is_refused(tmp_path: Path, form: str) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / f"x.{form}", "TIFF" if form == "tif" else "PPM")
    with pytest.raises(InputError, match=r"x\.\w+' must have 8 or 16 bits per colour: it has 32 \(mode F\)"):
        open_image(tmp_path / f"x.{form}")
    with pytest.raises(InputError, match=r"the image must have 8 or 16 bits .* \(mode I\)"):
        to_rgb(Image.fromarray(np.ones((2, 2), np.int32)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "P", "HSV", "YCbCr", "CMYK"])
def test_colours_stay_what_they_are(mode: str) -> None:
    made = red("RGB").convert(mode) if mode != "RGBA" else red(mode)
    found = np.asarray(to_rgb(made)).astype(int)
    assert abs(found - [255, 0, 0]).max() <= 1


def test_alpha_is_dropped_and_not_laid_on_a_ground() -> None:
    """What a transparent pixel is made of shows, as with LLaVA's processor."""
    assert to_rgb(Image.new("RGBA", (1, 1), (10, 20, 30, 0))).getpixel((0, 0)) == (10, 20, 30)
    assert to_rgb(Image.new("LA", (1, 1), (10, 0))).getpixel((0, 0)) == (10, 10, 10)
    assert to_rgb(Image.new("RGBA", (1, 1), (100, 50, 200, 255)).convert("RGBa")).getpixel((0, 0)) == (100, 50, 200)
    assert to_rgb(Image.new("LA", (1, 1), (90, 255)).convert("La")).getpixel((0, 0)) == (90, 90, 90)
    assert to_rgb(Image.new("1", (1, 1), 1)).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.putpixel((1, 0), 1)
    for name, form in (("x.png", "PNG"), ("x.gif", "GIF")):
        palette.save(tmp_path / name, form, transparency=0)
        assert np.asarray(open_image(tmp_path / name)).tolist() == [[[10, 20, 30], [200, 100, 0]]]
    assert to_rgb(palette.convert("PA")).getpixel((1, 0)) == (200, 100, 0)


def test_colours_of_perception_become_those_of_a_screen() -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(red("RGB"), *profiles, outputMode="LAB")
    assert lab is not None and lab.mode == "LAB"
    assert abs(np.asarray(to_rgb(lab)).astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_of_several_is_taken(tmp_path: Path, form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "x", form, save_all=True, append_images=frames[1:])
    found = open_image(tmp_path / "x")
    assert found.size == (8, 8) and abs(np.asarray(found).astype(int) - [255, 0, 0]).max() <= 2


def test_a_picture_is_not_turned_as_its_camera_was(tmp_path: Path) -> None:
    """As in LLaVA: `image_sizes` and pixels are of the picture as it is stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "x.jpg", exif=exif)
    assert open_image(tmp_path / "x.jpg").size == (40, 20)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_and_every_torn_file_is_one_line(tmp_path: Path, form: str) -> None:
    data = encoded(Image.effect_noise((33, 21), 80).convert("RGB"), form)
    path = tmp_path / f"x.{SAVED[form]}"
    path.write_bytes(data)
    assert open_image(path).size == (33, 21)
    cuts = sorted({0, 1, 2, 8, 20, *range(30, len(data) - 40, max(1, len(data) // 40))})
    for cut in cuts:
        path.write_bytes(data[:cut])
        try:
            found = open_image(path)
        except InputError as error:
            assert re.fullmatch(rf"image file '.*{path.name}' must .*", str(error))
        else:  # a format may do without its last bytes, but not without pixels
            assert found.size == (33, 21) and cut > len(data) * 0.9


@pytest.mark.parametrize(
    "start",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file\n",
        b"\xd7\xcd\xc6\x9a" + b"\0" * 40,
        b"%PDF-",
    ],
)
def test_formats_that_start_a_program_are_not_opened(
    tmp_path: Path, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: started.append(a))
    (tmp_path / "photo.jpg").write_bytes(start)
    with pytest.raises(InputError, match="must be a complete image that Pillow reads as one of JPEG, PNG"):
        open_image(tmp_path / "photo.jpg")
    with pytest.raises(InputError, match="image in base64 text must be a complete image"):
        load_image_from_base64(base64.b64encode(start))
    assert not started


def test_a_bomb_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(65000, 65000))
    with pytest.raises(InputError, match="65000|pixels"):
        open_image(tmp_path / "x.png")
    (tmp_path / "thin.png").write_bytes(png(65000, 1))
    assert open_image(tmp_path / "thin.png").size == (65000, 1)


def test_running_out_of_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    (tmp_path / "x.png").write_bytes(png(4, 4))
    monkeypatch.setattr(pictures, "to_rgb", full)
    with pytest.raises(InputError, match=r"x\.png' must be a complete image that Pillow reads: MemoryError"):
        open_image(tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, kind in (
        (tmp_path / "pipe.png", "a pipe"),
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a pipe, device"),
    ):
        with pytest.raises(InputError, match=f"an image must be a file: '.*' is {kind}"):
            open_image(path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="an image must be readable: .*gone.png' is not"):
        open_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "address", ["https://host/view.jpg", "http://host/a", "file:///tmp/x.png", "s3://bucket/x.png"]
)
def test_an_address_is_called_one(address: str) -> None:
    for path in (address, Path(address)):
        with pytest.raises(InputError, match=r"an image file must be a path: got an address \(URL\), '"):
            open_image(path)


def test_a_data_url_is_called_one() -> None:
    text = "data:image/png;base64," + base64.b64encode(png(4, 4)).decode() * 100
    with pytest.raises(InputError, match="got a data URL, .* load_image_from_base64") as error:
        open_image(text)
    assert len(str(error.value)) < 400


def test_a_file_whose_name_looks_like_an_address_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "http:").mkdir()
    (tmp_path / "http:" / "x.png").write_bytes(png(4, 4))
    monkeypatch.chdir(tmp_path)
    assert open_image("http:/x.png").size == (4, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_a_file_cut_short_is_found_by_its_end(kind: str, tmp_path: Path) -> None:
    """Without its pixels being read where it ends as it should."""
    path = tmp_path / f"a.{kind.lower()}"
    picture = Image.effect_noise((64, 48), 50).convert("RGB")
    picture.save(path, format=kind)
    check_image(path)
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * 20 + b"something behind it")
    check_image(path)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match="must be a complete image"):
        check_image(path)


def test_only_a_doubtful_file_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", None)  # what is decoded is converted
    check_image(tmp_path / "a.png")


@pytest.mark.parametrize(("mode", "name"), [("F", "a.tiff"), ("I", "b.tiff")])
def test_a_depth_that_cannot_be_shown_is_known_from_the_head(mode: str, name: str, tmp_path: Path) -> None:
    Image.new(mode, (8, 8), 7).save(tmp_path / name)
    with pytest.raises(InputError, match="8 or 16 bits per colour"):
        check_image(tmp_path / name)
    Image.new("I;16", (8, 8), 7).save(tmp_path / "sixteen.png")
    check_image(tmp_path / "sixteen.png")
