"""Questions about videos in a question file: shared, batched, cut into chunks, continued, beside pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import call, records, texts
from conftest import PARITY, Load
from films import greys, write_film
from PIL import Image
from video_questions import PACK, ask_about, run, three_videos

from llava.eval.model_vqa_loader import read_questions
from llava.eval.runs.inputs import PreparedQuestions
from llava.files import videos
from llava.model.generation.prefix_encoding import PrefixEncoding
from llava.reduction import method_class


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five questions about three videos: two films and a folder of frames."""
    return three_videos(tmp_path)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """Which videos were decoded, and how many images each call encoded."""
    done: dict[str, list] = {"decoded": [], "encoded": []}
    decode, encode = videos.film_frames, PrefixEncoding.encode_prefixes

    def decoding(path: Any, *rest: Any) -> Any:
        done["decoded"].append(Path(path).name)
        return decode(path, *rest)

    def encoding(self: Any, prompts: Any, pixels: Any, sizes: Any, method: Any, kinds: list[str], *rest: Any) -> Any:
        done["encoded"].append((len(prompts), kinds))
        return encode(self, prompts, pixels, sizes, method, kinds, *rest)

    monkeypatch.setattr(videos, "film_frames", decoding)
    monkeypatch.setattr(PrefixEncoding, "encode_prefixes", encoding)
    return done


def alone(load: Load, folder: Path, retain: int | None) -> list[str]:
    """The answers of `generate` to one question at a time."""
    loaded = load("families/video-llama")
    asked = read_questions(str(folder / "questions.jsonl"), str(folder / "videos"), frames=4)
    data = PreparedQuestions(asked, loaded.tokenizer, loaded.processor, loaded.model.config, "vicuna_v1")
    answers = []
    for number in range(len(data)):
        ids, pixels, size = data[number]
        kind = data.modality(number)
        geometry = loaded.model.geometry_for(4 if kind == "video" else 0)
        name = "none" if retain is None else "visiondrop"
        made = method_class(name)() if retain is None else method_class(name).from_budget(retain, geometry)
        new = loaded.model.generate(
            ids[None], [pixels], [size], reduction=made, modalities=[kind], do_sample=False, max_new_tokens=4
        )
        answers.append(loaded.tokenizer.decode(new[0], skip_special_tokens=True).strip())
    return answers


@pytest.mark.parametrize("retain", [None, 96])
def test_answers_are_those_of_generate_and_each_video_is_decoded_and_encoded_once(
    load: Load, folder: Path, capsys: pytest.CaptureFixture, work: dict, retain: int | None
) -> None:
    wanted = alone(load, folder, retain)
    method = [] if retain is None else ["--retain", retain]
    for number, how in enumerate(([], ["--batch-size", "auto"], ["--batch-size", 2], ["--num-workers", 1])):
        for counted in work.values():
            counted.clear()
        done = run(folder, capsys, *method, *how, answers=f"{number}.jsonl")
        assert done.code == 0 and texts(folder / f"{number}.jsonl") == wanted
        assert sum(count for count, _ in work["encoded"]) == 3
        assert all(kinds == ["video"] * count for count, kinds in work["encoded"])
        # Once for the digests that tell whether a run may be continued, once to be answered about.
        if how[:1] != ["--num-workers"]:  # another process decodes there
            assert sorted(work["decoded"]) == ["a.mkv", "a.mkv", "b.mkv", "b.mkv"]
    assert "method none on 4 frames: 577 in 4 layers" in done.out or retain


def test_answers_file_is_that_of_pictures(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(folder, capsys, "--retain", 96).code == 0
    first = records(folder / "a.jsonl")[0]
    assert list(first) == ["question_id", "prompt", "text", "answer_id", "model_id", "metadata"]
    assert first["prompt"] == "What?" and first["metadata"] == {}
    settings = json.loads((folder / "a.jsonl.settings.json").read_text())
    assert settings["num_frames"] == 4 and settings["mm_newline_position"] is None
    assert settings["average_tokens"] == pytest.approx(96, abs=2) and None not in settings["pictures_sha256"]


def test_pictures_and_videos_in_one_file_have_each_their_own_schedule(
    load: Load, folder: Path, capsys: pytest.CaptureFixture, work: dict
) -> None:
    stored = [Image.fromarray(frame) for frame in PACK]
    stored[0].save(folder / "videos/both.gif", save_all=True, append_images=stored[1:])
    shutil.copy(PARITY / "images/0.png", folder / "videos/0.png")
    lines = [{"video": "a.mkv", "text": "Who?"}, {"image": "0.png", "text": "Who?"}]
    lines += [{"image": "both.gif", "text": "What?"}, {"video": "both.gif", "text": "What?"}]
    ask_about(folder, [*lines, {"image": "0.png", "text": "Why?"}])
    wanted = alone(load, folder, 96)
    for size in (1, 4):
        work["encoded"].clear()
        done = run(folder, capsys, "--retain", 96, "--batch-size", size, answers=f"{size}.jsonl")
        assert done.code == 0 and texts(folder / f"{size}.jsonl") == wanted
        assert sum(count for count, _ in work["encoded"]) == 4
    assert done.out.count("method visiondrop on 4 frames: ") == 1 and done.out.count("method visiondrop: ") == 1
    settings = json.loads((folder / "4.jsonl.settings.json").read_text())
    assert settings["settings"]["dominant"] > 40 and settings["image_settings"]["dominant"] < 40
    pieces = [folder / f"piece{chunk}.jsonl" for chunk in range(5)]
    for chunk, piece in enumerate(pieces):  # whatever falls to a chunk, it has both schedules
        own = ["--num-chunks", 5, "--chunk-idx", chunk]
        assert run(folder, capsys, "--retain", 96, *own, answers=piece.name).code == 0
        assert texts(piece) == wanted[chunk : chunk + 1]
    assert call("merge", capsys, "--answers-file", folder / "merged.jsonl", *pieces).code == 0
    assert texts(folder / "merged.jsonl") == wanted
    merged = json.loads((folder / "merged.jsonl.settings.json").read_text())
    assert all(merged[key] == settings[key] for key in ("settings", "image_settings", "average_tokens", "num_frames"))


def test_a_folder_of_videos_of_their_own(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(folder, capsys).code == 0
    (folder / "pictures").mkdir()
    own = ["--image-folder", folder / "pictures", "--video-folder", folder / "videos"]
    assert run(folder, capsys, *own, answers="b.jsonl").code == 0
    assert texts(folder / "b.jsonl") == texts(folder / "a.jsonl")
    shutil.move(folder / "videos", folder / "moved")  # content decides, as with pictures
    moved = ["--image-folder", folder / "pictures", "--video-folder", folder / "moved"]
    done = run(folder, capsys, *moved, answers="b.jsonl")
    assert done.code == 0 and "5 of them from before" in done.out


def test_chunks_are_those_of_pictures(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(folder, capsys).code == 0
    for chunk in (0, 1):
        done = run(folder, capsys, "--num-chunks", 2, "--chunk-idx", chunk, answers=f"part{chunk}.jsonl")
        assert done.code == 0
    assert texts(folder / "part0.jsonl") + texts(folder / "part1.jsonl") == texts(folder / "a.jsonl")


def test_an_interrupted_run_goes_on_and_another_number_of_frames_is_another_run(
    folder: Path, capsys: pytest.CaptureFixture, work: dict
) -> None:
    assert run(folder, capsys, answers="whole.jsonl").code == 0
    assert run(folder, capsys).code == 0
    lines = (folder / "a.jsonl").read_text().splitlines(keepends=True)
    (folder / "a.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    work["encoded"].clear()
    done = run(folder, capsys)
    assert done.code == 0 and "5 answers" in done.out and "3 of them from before" in done.out
    assert texts(folder / "a.jsonl") == texts(folder / "whole.jsonl") and len(work["encoded"]) == 2
    for other, name in ((["--num-frames", 3], "num_frames = 4, got 3"), (["--mm-newline-position", "grid"], "'grid'")):
        refused = run(folder, capsys, *other)
        assert refused.code == 2 and name in refused.err and "--overwrite" in refused.err
    write_film(folder / "videos/b.mkv", PACK)
    refused = run(folder, capsys)
    assert refused.code == 2 and "has pictures_sha256" in refused.err


def test_videos_that_cannot_be_read_are_skipped_and_asked_again_once_mended(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(folder, capsys, answers="whole.jsonl").code == 0
    whole = (folder / "videos/b.mkv").read_bytes()
    (folder / "videos/b.mkv").write_bytes(whole[: len(whole) // 2])
    refused = run(folder, capsys)
    assert (
        refused.code == 2 and "b.mkv' must be a whole film" in refused.err and "questions.jsonl line 2" in refused.err
    )
    assert texts(folder / "a.jsonl") == texts(folder / "whole.jsonl")[:1]
    done = run(folder, capsys, "--skip-unreadable")
    assert done.code == 0 and "WARNING: 2 questions were skipped" in done.err
    assert [text == "" for text in texts(folder / "a.jsonl")] == [False, True, False, False, True]
    (folder / "videos/b.mkv").write_bytes(whole)
    assert run(folder, capsys).code == 0
    assert texts(folder / "a.jsonl") == texts(folder / "whole.jsonl")


def test_too_few_frames_are_repeated_and_said_once(folder: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.warns(UserWarning, match="4 of 6: frames are repeated"):
        done = run(folder, capsys, "--num-frames", 6)
    assert done.code == 0 and "method none on 6 frames: 865 in 4 layers" in done.out


def test_greys_are_told_apart(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Another film is another answer: the frames do reach the model."""
    write_film(folder / "videos/a.mkv", greys(9, (48, 48), 28))
    ask_about(folder, [{"video": "a.mkv", "text": "What?"}, {"video": "b.mkv", "text": "What?"}])
    assert run(folder, capsys, "--max_new_tokens", 12).code == 0
    assert len(set(texts(folder / "a.jsonl"))) == 2
