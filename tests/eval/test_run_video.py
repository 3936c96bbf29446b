"""One question about a video: LLaVA-NeXT's own answers to its frames, from films in which they are stored exactly."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Outcome, call
from conftest import PARITY, Load
from films import greys, write_film, write_sound
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from llava.files.videos import open_video
from llava.mm_utils import tokenizer_image_token
from llava.model.builder import load_tokenizer
from llava.model.trace import Trace
from llava.reduction import method_class
from llava.reduction.schedule import average_tokens
from llava.video_pixels import process_video

FAMILIES = PARITY / "families"
FRAMES = [FAMILIES / "images" / f"f{number}.png" for number in range(4)]
NEWLINES = {"one-token": "one_token", "no-token": "no_token", "frame": "frame", "grid": "grid"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack's video: four frames, without loss."""
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", [np.asarray(Image.open(path)) for path in FRAMES])


def ask(capsys: pytest.CaptureFixture, film: Path, *flags: object, checkpoint: str = "video-llama") -> Outcome:
    """The command, greedy, twelve tokens, on four frames."""
    common = ["--model-path", FAMILIES / checkpoint, "--query", "What happens?", "--temperature", 0]
    common += ["--max_new_tokens", 12, "--num-frames", 4, "--conv-mode", "vicuna_v1"]
    return call("run_llava", capsys, *common, "--video-file", film, *flags)


def recorded(name: str, checkpoint: str = "video-llama") -> str:
    """The answer of the official code."""
    ids = load_file(FAMILIES / f"{name}.safetensors")["generated_ids"]
    return load_tokenizer(FAMILIES / checkpoint).decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("case", NEWLINES)
def test_answers_are_those_of_llava_next(film: Path, capsys: pytest.CaptureFixture, case: str) -> None:
    done = ask(capsys, film, "--mm-newline-position", NEWLINES[case])
    assert done.code == 0 and done.out.strip() == recorded(f"video-{case}")
    if case == "one-token":  # the checkpoint's own
        assert ask(capsys, film).out == done.out


def test_onevision_sees_videos_too(film: Path, capsys: pytest.CaptureFixture) -> None:
    done = ask(capsys, film, "--conv-mode", "qwen_1_5", checkpoint="ov-qwen")
    assert done.code == 0 and done.out.strip() == recorded("ov-video", "ov-qwen")


def test_folders_and_animations_are_answered_about_alike(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for path in FRAMES:
        shutil.copy(path, tmp_path / path.name)
    assert ask(capsys, tmp_path).out.strip() == recorded("video-one-token")
    stored = [Image.open(path) for path in FRAMES]
    stored[0].save(tmp_path / "a.webp", save_all=True, append_images=stored[1:], lossless=True)
    assert ask(capsys, tmp_path / "a.webp").out.strip() == recorded("video-one-token")


@pytest.mark.parametrize(
    "method", [("visiondrop", 96), ("visiondrop", 40), ("visionzip", 128), ("pyramiddrop", 400), ("random", 64)]
)
def test_a_budget_is_that_of_the_whole_video(
    film: Path, load: Load, capsys: pytest.CaptureFixture, method: tuple[str, int]
) -> None:
    """The tokens that the LLM really had in each layer are those of the schedule, and their average is the budget."""
    name, retain = method
    loaded = load("families/video-llama")
    geometry = loaded.model.geometry_for(4)
    made = method_class(name).from_budget(retain, geometry)
    pixels = process_video(open_video(film, 4), loaded.processor)
    with safe_open(FAMILIES / "video-one-token.safetensors", "pt") as file:
        prompt = file.metadata()["prompt"]
    ids = tokenizer_image_token(prompt, loaded.tokenizer, return_tensors="pt")[None]
    trace = Trace()
    arguments = {"images": [pixels], "modalities": ["video"], "do_sample": False, "max_new_tokens": 12}
    new = loaded.model.generate(ids, reduction=made, trace=trace, **arguments)
    hidden = [trace.inputs_embeds, *(stage.leaving for stage in trace.stages)]
    lengths = [states.shape[1] - (ids.shape[1] - 1) for states in hidden]
    assert lengths == made.tokens_per_stage(geometry)
    assert average_tokens(made, geometry) == pytest.approx(retain, abs=4)
    done = ask(capsys, film, "--method", name, "--retain", retain)
    assert done.out.strip() == loaded.tokenizer.decode(new[0], skip_special_tokens=True).strip()


def test_a_checkpoint_of_one_view_per_picture_takes_a_videos_schedule(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Its encoder keeps less of a picture than the first stage in the LLM does of a video."""
    shutil.copytree(FAMILIES / "video-llama", tmp_path / "llava-pad")
    config = json.loads((tmp_path / "llava-pad/config.json").read_text())
    config["image_aspect_ratio"] = "pad"
    (tmp_path / "llava-pad/config.json").write_text(json.dumps(config))
    done = ask(capsys, film, "--model-path", tmp_path / "llava-pad", "--retain", 96)
    assert done.code == 0 and done.out.strip()


def test_frames_are_prepared_by_the_processor_alone(film: Path, load: Load) -> None:
    processor = load("families/video-llama").processor
    pixels = process_video(open_video(film, 4), processor)
    assert torch.equal(pixels[..., 5::16, 5::16], load_file(FAMILIES / "video-frame.safetensors")["pixel_sample.0"])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what is no video."""
    folder = tmp_path_factory.mktemp("odd")
    whole = write_film(folder / "whole.mp4", greys(12), "libx264", "yuv420p").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a film")
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nwhole.mp4\n#EXT-X-ENDLIST\n")
    write_sound(folder / "sound.m4a")
    shutil.copy(FRAMES[0], folder / "picture.png")
    (folder / "nothing").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts/a.txt").write_text("a")
    (folder / "broken").mkdir()
    (folder / "broken/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "broken/b.png").write_bytes(FRAMES[0].read_bytes())
    return folder


@pytest.mark.parametrize(
    ("video", "flags", "complaint"),
    [
        ("nowhere.mp4", [], "nowhere.mp4' does not exist; check the folder of videos"),
        ("cut.mp4", [], "must be a whole film that FFmpeg decodes"),
        ("empty.mp4", [], "must be a whole film that FFmpeg decodes"),
        ("text.mp4", [], "must be a whole film that FFmpeg decodes"),
        ("list.m3u8", [], "it is none; fetch it again"),
        ("sound.m4a", [], "it has no video stream"),
        ("picture.png", [], "it is a picture (PNG); give it as an image"),
        ("nothing", [], "the folder has no picture"),
        ("texts", [], "the folder has no picture"),
        ("broken", [], "a.png' must be a complete image"),
        ("whole.mp4", ["--num-frames", 0], "argument --num-frames: must be a whole number"),
        ("whole.mp4", ["--num-frames", -3], "argument --num-frames: must be a whole number"),
        (
            "whole.mp4",
            ["--num-frames", "all"],
            "argument --num-frames: must be a whole number of at least 1: got 'all'",
        ),
        ("whole.mp4", ["--num-frames", "2.5"], "argument --num-frames: must be a whole number"),
        ("whole.mp4", ["--num-frames", 10**9], "argument --num-frames: must be a whole number from 1 to 65536"),
        ("whole.mp4", ["--mm-newline-position", "row"], "invalid choice: 'row'"),
        ("whole.mp4", ["--image-file", FRAMES[0]], "or a video (--video-file): got both; give one"),
        ("whole.mp4", ["--retain", 2], "--retain of visiondrop must leave fewer tokens at each stage"),
        ("whole.mp4", ["--method", "visionzip", "--retain", 99999], "must not exceed what the encoder has"),
        ("whole.mp4", ["--method", "pyramiddrop", "--retain", 600], "--retain of pyramiddrop must lie between"),
        ("whole.mp4", ["--query", "<image-placeholder> and <image-placeholder>"], "got 2 of them for 1 pictures"),
        ("https://example.org/a.mp4", [], "must be a path: got an address (URL)"),
    ],
)
def test_bad_input_is_one_line(
    odd: Path, capsys: pytest.CaptureFixture, video: str, flags: list[object], complaint: str
) -> None:
    done = ask(capsys, Path(video) if "://" in video else odd / video, *flags)
    lines = [line for line in done.err.splitlines() if not line.startswith("conversation mode")]
    assert done.code == 2 and done.out == "" and len(lines) == 1, done.err
    assert lines[0].startswith("error: ") and complaint in lines[0]


def test_a_question_is_about_something(capsys: pytest.CaptureFixture) -> None:
    done = call("run_llava", capsys, "--model-path", FAMILIES / "video-llama", "--query", "a")
    assert done.code == 2 and "(--image-file) or a video (--video-file): got neither; give one" in done.err
