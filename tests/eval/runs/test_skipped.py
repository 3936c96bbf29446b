"""Pictures that cannot be read: a run stops at the first, or passes over them and says which they were."""

import json
import shutil
from pathlib import Path

import pytest
from commands import call, loader_flags, questions, records, texts
from conftest import PARITY

from llava.eval.files import read_answers

ASKED = [("q0", "0.png"), ("q1", "1.png"), ("q2", "2.png"), ("q3", "1.png"), ("q4", "3.png"), ("q5", "0.png")]
# Answers without damage, made once.
WHOLE: list[bytes] = []
GOOD: list[str] = []


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> Path:
    """Six questions about four pictures, of which 1.png is cut short; `whole.jsonl` are the answers without damage."""
    shutil.copytree(PARITY / "images", tmp_path / "images")
    lines = [{"question_id": name, "image": image, "text": "What is it?"} for name, image in ASKED]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if not WHOLE:
        assert call("model_vqa_loader", capsys, *flags(tmp_path, answers="whole.jsonl")).code == 0
        WHOLE.append((tmp_path / "whole.jsonl").read_bytes())
    (tmp_path / "whole.jsonl").write_bytes(WHOLE[0])
    picture = tmp_path / "images/1.png"
    picture.write_bytes(picture.read_bytes()[:300])
    return tmp_path


def flags(folder: Path, *more: object, answers: str = "a.jsonl") -> list[object]:
    """The loader on the folder's own pictures."""
    return loader_flags(folder, "--image-folder", folder / "images", *more, answers=answers)


def skipped(folder: Path) -> list[str]:
    """The questions that the settings name."""
    return [one["question_id"] for one in json.loads((folder / "a.jsonl.settings.json").read_text()).get("skipped", [])]


@pytest.mark.parametrize("how", [["--batch-size", 1], ["--batch-size", 4], ["--batch-size", 2, "--num-workers", 1]])
def test_a_run_passes_over_what_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture, how: list) -> None:
    done = call("model_vqa_loader", capsys, *flags(folder, "--skip-unreadable", *how))
    assert done.code == 0 and "6 answers in " in done.out
    said = done.err.splitlines()[-1]
    assert said.startswith("WARNING: 2 questions were skipped, because their pictures cannot be read: 'q1': image file")
    assert "images/1.png" in said and "'q3'" in said
    assert skipped(folder) == ["q1", "q3"]
    whole = texts(folder / "whole.jsonl")
    found = records(folder / "a.jsonl")
    assert [record["text"] for record in found] == [whole[0], "", whole[2], "", whole[4], whole[5]]
    assert all(("skipped" in record["metadata"]) == (record["question_id"] in ("q1", "q3")) for record in found)
    # Scorers read the file with a word about it; a second start has nothing to do and says it again.
    assert len(read_answers(str(folder / "a.jsonl"))) == 6
    assert capsys.readouterr().err.startswith(f"WARNING: 2 questions of '{folder}/a.jsonl' were skipped and count as")
    for more in (["--skip-unreadable"], []):
        again = call("model_vqa_loader", capsys, *flags(folder, *more))
        assert again.code == 0 and "6 of them from before" in again.out and "2 questions were skipped" in again.err


def test_without_the_flag_the_run_stops_and_either_way_leads_on(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for _ in range(2):
        done = call("model_vqa_loader", capsys, *flags(folder))
        assert done.code == 2 and done.err.endswith("questions.jsonl line 2); or go on without it: --skip-unreadable")
    assert len(records(folder / "a.jsonl")) == 1
    assert call("model_vqa_loader", capsys, *flags(folder, "--skip-unreadable")).code == 0
    assert skipped(folder) == ["q1", "q3"]


def test_a_mended_picture_is_asked_about_after_all(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert call("model_vqa_loader", capsys, *flags(folder, "--skip-unreadable")).code == 0
    before = {record["question_id"]: record for record in records(folder / "a.jsonl")}
    shutil.copy(PARITY / "images/1.png", folder / "images/1.png")
    again = call("model_vqa_loader", capsys, *flags(folder))
    assert again.code == 0 and again.err == "" and skipped(folder) == []
    assert texts(folder / "a.jsonl") == texts(folder / "whole.jsonl")
    for record in records(folder / "a.jsonl"):  # what was answered was not answered again
        assert record == before[record["question_id"]] or record["question_id"] in ("q1", "q3")


@pytest.mark.parametrize("missing", [1, 4])
def test_missing_pictures_are_passed_over_unless_all_are(
    folder: Path, capsys: pytest.CaptureFixture, missing: int
) -> None:
    for number in range(missing):
        (folder / f"images/{number}.png").unlink()
    refused = call("model_vqa_loader", capsys, *flags(folder))
    assert refused.code == 2 and "a question's image must exist: " in refused.err and "line 1)" in refused.err
    done = call("model_vqa_loader", capsys, *flags(folder, "--skip-unreadable"))
    assert (done.code, len(skipped(folder)) if done.code == 0 else 0) == ((0, 4) if missing == 1 else (2, 0))


def test_a_padding_bomb_is_passed_over(folder: Path, capsys: pytest.CaptureFixture) -> None:
    from PIL import Image

    Image.new("L", (65000, 1)).save(folder / "images/1.png")  # 4 billion pixels once it is a square
    for how in ([], ["--num-workers", 1]):
        done = call("model_vqa_loader", capsys, *flags(folder, *how))
        assert done.code == 2 and "questions.jsonl line 2); or go on" in done.err and done.err.count("\n") == 0
    assert call("model_vqa_loader", capsys, *flags(folder, "--skip-unreadable")).code == 0
    assert skipped(folder) == ["q1", "q3"]


def test_merging_keeps_the_count_and_the_names(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pieces = [folder / f"{index}.jsonl" for index in range(2)]
    for index, piece in enumerate(pieces):
        chunk = ["--num-chunks", 2, "--chunk-idx", index, "--skip-unreadable", "--answers-file", piece]
        assert call("model_vqa_loader", capsys, *flags(folder, *chunk)).code == 0
    done = call("merge", capsys, *pieces, "--answers-file", folder / "a.jsonl")
    assert done.code == 0 and done.out.startswith("6 answers") and done.err.count("WARNING: 1 questions of ") == 2
    assert skipped(folder) == ["q1", "q3"]


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("kind", ["truncated", "text", "empty"])
def test_a_bad_picture_in_the_middle_keeps_what_was_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, batch_size: int
) -> None:
    questions(tmp_path, 6)
    if not GOOD:
        call("model_vqa_loader", capsys, *loader_flags(tmp_path, "--retain", 32, answers="good.jsonl"))
        GOOD.extend(texts(tmp_path / "good.jsonl"))
    images = tmp_path / "images"
    shutil.copytree(PARITY / "images", images)
    data = (images / "3.png").read_bytes()
    (images / "3.png").write_bytes({"truncated": data[: len(data) // 2], "text": b"not a picture", "empty": b""}[kind])
    flags = loader_flags(tmp_path, "--image-folder", images, "--batch-size", batch_size, "--retain", 32)
    outcome = call("model_vqa_loader", capsys, *flags)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and outcome.err.count("\n") == 0
    assert f"{images}/3.png" in outcome.err and f"{tmp_path}/questions.jsonl line 4" in outcome.err
    assert texts(tmp_path / "answers/a.jsonl") == GOOD[:3]

    shutil.copy(PARITY / "images/3.png", images)
    assert call("model_vqa_loader", capsys, *flags).code == 0
    assert texts(tmp_path / "answers/a.jsonl") == GOOD and len(GOOD) == 6
