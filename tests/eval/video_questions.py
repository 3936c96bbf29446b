"""Questions about three tiny videos, and the loader on them."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Outcome, call
from conftest import PARITY
from films import write_film
from PIL import Image

CHECKPOINT = PARITY / "families" / "video-llama"
PACK = [np.asarray(Image.open(PARITY / "families" / "images" / f"f{number}.png")) for number in range(4)]
ASKED = [("a.mkv", "What?"), ("b.mkv", "Who?"), ("frames", "Where?"), ("a.mkv", "Is it a dog?"), ("b.mkv", "What?")]


def three_videos(folder: Path) -> Path:
    """Five questions about three videos: two films and a folder of frames."""
    (folder / "videos/frames").mkdir(parents=True)
    write_film(folder / "videos/a.mkv", PACK)
    write_film(folder / "videos/b.mkv", PACK[::-1])
    for number, frame in enumerate((*PACK[2:], *PACK)):
        Image.fromarray(frame).save(folder / f"videos/frames/{number}.png")
    ask_about(folder, [{"video": name, "text": text} for name, text in ASKED])
    return folder


def ask_about(folder: Path, lines: list[dict]) -> None:
    """Write the question file, with ids."""
    numbered = [{"question_id": f"q{number}"} | line for number, line in enumerate(lines)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in numbered))


def run(folder: Path, capsys: pytest.CaptureFixture, *more: object, answers: str = "a.jsonl") -> Outcome:
    """The loader, greedy, four tokens, on four frames; the videos lie where pictures would."""
    flags = ["--model-path", CHECKPOINT, "--question-file", folder / "questions.jsonl", "--temperature", 0]
    flags += ["--image-folder", folder / "videos", "--answers-file", folder / answers, "--conv-mode", "vicuna_v1"]
    return call("model_vqa_loader", capsys, *flags, "--max_new_tokens", 4, "--num-frames", 4, *more)
